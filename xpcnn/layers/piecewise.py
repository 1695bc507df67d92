"""Activations made of straight pieces, beside ReLU: a slope below zero, and a limit at both ends."""

import math

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.layers.base import Layer
from xpcnn.layers.shapes import same_shape


class LeakyReLU(Layer):
    """x where x > 0, slope x elsewhere: the gradient never vanishes entirely.

    Parameters
    ----------
    slope : float

    Raises
    ------
    ShapeError
        For a slope that is not a finite number.

    References
    ----------
    Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", ICML 2013.
    """

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = float(slope)
        if not math.isfinite(self.slope):
            raise ShapeError(f"LeakyReLU: slope must be a finite number, got {slope!r}; pass slope=0.01, say")

    def forward(self, x: Array) -> Array:
        self.save_for_backward(x)
        return ops.leaky_relu(x, self.slope)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (x,) = self.pop_saved()
        return ops.leaky_relu_backward(dy, x, self.slope)

    output_shape = same_shape


class Clip(Layer):
    """min(max(x, low), high): passes the gradient where low < x < high. ``Clip(0, 6)`` is ReLU6.

    Parameters
    ----------
    low, high : float
        Minus and plus infinity leave that side free.

    Raises
    ------
    ShapeError
        Unless low < high.

    References
    ----------
    Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10", 2010 (ReLU6).
    """

    def __init__(self, low: float = 0.0, high: float = 6.0) -> None:
        self.low, self.high = float(low), float(high)
        if not self.low < self.high:
            raise ShapeError(
                f"Clip: low must be less than high, got {low!r} and {high!r}; Clip(0, 6) is ReLU6"
            )

    def forward(self, x: Array) -> Array:
        self.save_for_backward(x)
        return ops.clip(x, self.low, self.high)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (x,) = self.pop_saved()
        return ops.clip_backward(dy, x, self.low, self.high)

    output_shape = same_shape
