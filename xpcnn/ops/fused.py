"""Pairs of ops that a backend may compute at once; here they are written one after the other."""

from xpcnn.backend import Array, accelerated
from xpcnn.geometry import Window
from xpcnn.ops.activation import relu, relu_backward
from xpcnn.ops.pooling import max_pool, max_pool_backward


@accelerated
def relu_max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """Return the largest pixel of each window of relu(x), and which one it was: (N,C,H,W) -> two (N,C,OH,OW).

        y = max_pool(relu(x))

    A kernel may take the maximum first, since max relu(x) = relu(max x) exactly, and relu then reads fewer pixels.
    Where y is 0, several pixels may be the largest; `winner` is any of them, since none gets a gradient.
    """
    return max_pool(relu(x), window)


@accelerated
def relu_max_pool_backward(
    dy: Array, y: Array, winner: Array, image_size: tuple[int, int], window: Window
) -> Array:
    """Add dy to the pixel that won, where it is positive: (N,C,OH,OW) -> (N,C,H,W).

    relu passes the gradient where the pixel was positive; the winner is positive where y is.
    """
    return max_pool_backward(relu_backward(dy, y), winner, image_size, window)
