"""Pairs of ops that a backend may compute in one; each is written here as the composition of its two."""

from xpcnn.backend import Array, accelerated
from xpcnn.geometry import Window
from xpcnn.ops.activation import relu, relu_backward
from xpcnn.ops.pooling import max_pool, max_pool_backward


@accelerated
def relu_max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """Return the largest pixel of each window of relu(x), and which one it was: (N,C,H,W) -> two (N,C,OH,OW).

        y = max_pool(relu(x)) = relu(max_pool(x))

    The two are equal number for number, as every window of a `layers.Pooling` has a pixel of the image; the second has
    fewer pixels to cut at 0. Where y is 0, several pixels of relu(x) are the largest; it makes no difference which one
    `winner` names, as none of them gets a gradient.
    """
    y, winner = max_pool(x, window)
    return relu(y), winner


@accelerated
def relu_max_pool_backward(
    dy: Array, y: Array, winner: Array, image_size: tuple[int, int], window: Window
) -> Array:
    """Carry dy to the pixel that won, where it is positive: (N,C,OH,OW) -> (N,C,H,W).

    relu passes the gradient where the pixel was positive, and the winner is positive where y is.
    """
    return max_pool_backward(relu_backward(dy, y), winner, image_size, window)
