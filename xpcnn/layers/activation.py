"""Activation layers: y has the shape of x, and there is nothing to learn."""

from typing import Any, Literal

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.errors.checks import is_number, whole
from xpcnn.layers.base import Layer
from xpcnn.layers.shapes import same_shape


class Activation(Layer):
    """y = f(x), in the shape of x.

    `op` names f in `xpcnn.ops`, and ``op_backward`` its backward, which reads what `reads` says: x or y. `settings`
    names the attributes that both take as further arguments.
    """

    op: str
    reads: Literal["x", "y"] = "x"
    settings: tuple[str, ...] = ()

    def forward(self, x: Array) -> Array:
        y = getattr(ops, self.op)(x, *self._values())
        self.save_for_backward(x if self.reads == "x" else y)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (saved,) = self.pop_saved()
        return getattr(ops, f"{self.op}_backward")(dy, saved, *self._values())

    def _values(self) -> list[Any]:
        return [getattr(self, name) for name in self.settings]

    output_shape = same_shape


class ReLU(Activation):
    """max(x, 0): passes the gradient where x was positive."""

    op, reads = "relu", "y"


class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    op, reads = "sigmoid", "y"


class Tanh(Activation):
    """The hyperbolic tangent."""

    op, reads = "tanh", "y"


class SiLU(Activation):
    """x sigmoid(x), also called swish."""

    op = "silu"


class GELU(Activation):
    """x Phi(x), Phi the normal distribution: x times the probability that a standard normal number is below it."""

    op = "gelu"


class LeakyReLU(Activation):
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

    op, settings = "leaky_relu", ("slope",)

    def __init__(self, slope: float = 0.01) -> None:
        if not is_number(slope):
            raise ShapeError(f"LeakyReLU: slope must be a finite number, got {slope!r}; pass slope=0.01, say")
        self.slope = float(slope)


class Clip(Activation):
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

    op, settings = "clip", ("low", "high")

    def __init__(self, low: float = 0.0, high: float = 6.0) -> None:
        self.low, self.high = float(low), float(high)
        if not self.low < self.high:
            raise ShapeError(
                f"Clip: low must be less than high, got {low!r} and {high!r}; Clip(0, 6) is ReLU6"
            )


class Softmax(Activation):
    """exp(x) / sum exp(x) along an axis (the last): scores into probabilities.

    For training, `losses.SoftmaxCrossEntropy` takes the logits before it.

    Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs", 1990.
    """

    op, reads, settings = "softmax", "y", ("axis",)

    def __init__(self, axis: int = -1) -> None:
        self.axis = whole(axis, "axis", "Softmax", -32, fix="pass -1 for the last axis")

    def forward(self, x: Array) -> Array:
        if not -x.ndim <= self.axis < x.ndim:
            raise ShapeError(
                f"{self}: expected an input with axis {self.axis}, got shape {x.shape}; pass axis=-1"
            )
        return super().forward(x)
