"""Layers that only change the shape, or nothing."""

import math

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.layers.base import Layer
from xpcnn.layers.shapes import Shape, same_shape


class Flatten(Layer):
    """Lay all axes but the first into one: (N,C,H,W) -> (N,C*H*W). An affine layer asks for it."""

    def forward(self, x: Array) -> Array:
        self.save_for_backward(x.shape)
        return ops.flatten(x)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (shape,) = self.pop_saved()
        return dy.reshape(shape)

    def output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)


class Identity(Layer):
    """Y = x: the shortcut of a residual block, or a place left free."""

    def forward(self, x: Array) -> Array:
        return x

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        return dy

    output_shape = same_shape
