"""Layers that only change the shape, or nothing."""

import math
from collections.abc import Sequence

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.layers.base import Layer
from xpcnn.layers.shapes import Shape, same_shape


class Reshape(Layer):
    """Give each sample another shape, its numbers in the same order: (N, ...) -> (N, *shape).

    Parameters
    ----------
    shape : sequence of int
        Without the batch axis; one of them may be -1: it is computed from the others.

    Raises
    ------
    ShapeError
        At construction for a size below 1 other than one -1; in forward for another number of elements.

    Examples
    --------
    >>> Reshape((16, 5, 5)).output_shape((400,))
    (16, 5, 5)
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(int(size) for size in shape)
        if not self.shape or self.shape.count(-1) > 1 or any(size < 1 and size != -1 for size in self.shape):
            raise ShapeError(
                f"Reshape: expected the sizes of one sample, at most one of them -1, got {tuple(shape)}; pass "
                "shape=(16, 5, 5), say, without the batch axis"
            )

    def forward(self, x: Array) -> Array:
        self.save_for_backward(x.shape)
        return x.reshape(len(x), *self.output_shape(x.shape[1:]))  # (N, ...) -> (N, *shape)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (shape,) = self.pop_saved()
        return dy.reshape(shape)  # (N, *shape) -> (N, ...)

    def output_shape(self, input_shape: Shape) -> Shape:
        elements, known = math.prod(input_shape), math.prod(size for size in self.shape if size != -1)
        if elements % known or (elements != known and -1 not in self.shape):
            raise ShapeError(
                f"{self}: expected {known} numbers a sample{' or a multiple' if -1 in self.shape else ''}, got "
                f"{elements} in {tuple(input_shape)}; pass a shape of {elements} numbers"
            )
        return tuple(elements // known if size == -1 else size for size in self.shape)


class Flatten(Layer):
    """Make all axes but the first into one: (N,C,H,W) -> (N,C*H*W), as an affine layer needs it."""

    def forward(self, x: Array) -> Array:
        self.save_for_backward(x.shape)
        return ops.flatten(x)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (shape,) = self.pop_saved()
        return dy.reshape(shape)  # (N, C*H*W) -> (N, C, H, W)

    def output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)


class Identity(Layer):
    """y = x: the shortcut of a residual block."""

    def forward(self, x: Array) -> Array:
        return x

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        return dy

    output_shape = same_shape
