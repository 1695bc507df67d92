"""Pairs of ops that a backend may compute in one; each is written here as the composition of its two."""

from xpcnn.backend import Array, accelerated
from xpcnn.geometry import Window
from xpcnn.ops.activation import relu, relu_backward
from xpcnn.ops.pooling import max_pool, max_pool_backward


@accelerated
def relu_max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """Return the largest pixel of each window of relu(x), and which one it was: (N,C,H,W) -> two (N,C,OH,OW).

        y = max_pool(relu(x))

    A kernel may take the maximum first, since max relu(x) = relu(max x), number for number, and then has a quarter of
    the pixels to cut at 0. Where y is 0, several pixels are the largest, and which one `winner` names is left open:
    none of them gets a gradient.
    """
    return max_pool(relu(x), window)


@accelerated
def relu_max_pool_backward(
    dy: Array, y: Array, winner: Array, image_size: tuple[int, int], window: Window
) -> Array:
    """Carry dy to the pixel that won, where it is positive: (N,C,OH,OW) -> (N,C,H,W).

    relu passes the gradient where the pixel was positive, and the winner is positive where y is.
    """
    return max_pool_backward(relu_backward(dy, y), winner, image_size, window)
