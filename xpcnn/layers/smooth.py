"""Smooth relatives of ReLU: elementwise, any shape, nothing to learn."""

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.layers.base import Layer
from xpcnn.layers.shapes import same_shape


class SiLU(Layer):
    """x sigmoid(x), also called swish."""

    def forward(self, x: Array) -> Array:
        self.save_for_backward(x)
        return ops.silu(x)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        return ops.silu_backward(dy, *self.pop_saved())

    output_shape = same_shape


class GELU(Layer):
    """x Phi(x), Phi the normal distribution: x times the probability that a standard normal number is below it."""

    def forward(self, x: Array) -> Array:
        self.save_for_backward(x)
        return ops.gelu(x)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        return ops.gelu_backward(dy, *self.pop_saved())

    output_shape = same_shape
