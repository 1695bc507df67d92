"""Activation layers: elementwise, any shape, nothing to learn."""

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.layers.base import Layer
from xpcnn.layers.shapes import same_shape


class ReLU(Layer):
    """max(x, 0): passes the gradient where x was positive."""

    def forward(self, x: Array) -> Array:
        y = ops.relu(x)
        self.save_for_backward(y)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        return ops.relu_backward(dy, *self.pop_saved())

    output_shape = same_shape


class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Array) -> Array:
        y = ops.sigmoid(x)
        self.save_for_backward(y)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        return ops.sigmoid_backward(dy, *self.pop_saved())

    output_shape = same_shape


class Tanh(Layer):
    """The hyperbolic tangent."""

    def forward(self, x: Array) -> Array:
        y = ops.tanh(x)
        self.save_for_backward(y)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        return ops.tanh_backward(dy, *self.pop_saved())

    output_shape = same_shape
