"""Softmax as a layer. For training, `losses.SoftmaxCrossEntropy` takes the logits before it."""

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.errors.checks import whole
from xpcnn.layers.base import Layer
from xpcnn.layers.shapes import same_shape


class Softmax(Layer):
    """exp(x) / sum exp(x) along an axis (the last): scores into probabilities.

    Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs", 1990.
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = whole(axis, "axis", "Softmax", -32, fix="pass -1 for the last axis")

    def forward(self, x: Array) -> Array:
        if not -x.ndim <= self.axis < x.ndim:
            raise ShapeError(
                f"{self}: expected an input with axis {self.axis}, got shape {x.shape}; pass axis=-1"
            )
        y = ops.softmax(x, self.axis)
        self.save_for_backward(y)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (y,) = self.pop_saved()
        return ops.softmax_backward(dy, y, self.axis)

    output_shape = same_shape
