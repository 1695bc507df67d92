"""The protocol of losses: a function of outputs and targets with one number as its value, and its gradient."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from xpcnn.backend import Array
from xpcnn.errors import (
    BackwardError,
    DatasetError,
    DtypeError,
    HyperparameterError,
    XpcnnError,
    XpcnnWarning,
)
from xpcnn.layers import Sequential
from xpcnn.layers.representation import shown_arguments

MEAN, SUM = "mean", "sum"


class Loss:
    """A loss: ``loss = criterion(y, target)``, then ``dy = criterion.backward()`` once.

    To write one, define these two methods. y is the model's output, and target comes from the data set; `backward`
    returns dL/dy, of the shape and the dtype of y. Where the model returns several outputs, y is a list or tuple of
    them, and backward returns as many gradients. The loss is one number, a 0-d array that stays on the device.

    `training.train` and `training.evaluate` take any object with these two methods; deriving from this class adds
    `save_for_backward`, `pop_saved`, a repr, and the defaults of the two methods below.

    Attributes
    ----------
    reduction : "mean" or "sum"
        Whether a batch's loss is the mean over the batch or the sum.

    Examples
    --------
    >>> class Squares(Loss):
    ...     def __call__(self, y, target):
    ...         self.save_for_backward(2 * (y - target) / len(y))
    ...         return ((y - target) ** 2).sum() / len(y)
    ...
    ...     def backward(self):
    ...         (dy,) = self.pop_saved()
    ...         return dy
    >>> import numpy as np
    >>> criterion = Squares()
    >>> float(criterion(np.array([1.0, 2.0]), np.array([0.0, 2.0]))), criterion.backward(), criterion
    (0.5, array([1., 0.]), Squares())
    """

    reduction: str = MEAN
    target_name: ClassVar[str] = "target"
    applies: ClassVar[type | None] = None
    """The layer that this loss applies itself to what the model returns."""
    _saved: tuple[Any, ...] | None = None

    def __call__(self, y: Any, target: Any) -> Array:
        """Return the loss, saving for backward what it needs."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__()")

    def backward(self) -> Any:
        """Return dL/dy of the last call.

        Raises
        ------
        BackwardError
            Without a call before.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward()")

    def check_targets(self, targets: Any, output_shape: Any) -> None:
        """Raise unless all targets of a data set fit outputs of this shape. Here every target fits.

        It is called on the host, before the first step. `output_shape` is that of one sample, without the batch axis;
        of several outputs a tuple of shapes.

        Raises
        ------
        DatasetError, DtypeError
            With the first target that does not fit, and the fix.
        """

    def count(self, targets: Any, output_shape: Any) -> float:
        """Return the weight of these targets in the mean over a data set: here, their number.

        It is the divisor of the mean over a batch, or a fixed multiple of it. So means over batches of different
        weights add up to the mean over the data set.
        """
        return len(targets[0] if isinstance(targets, tuple) else targets)

    def save_for_backward(self, *values: Any) -> None:
        """Save values for the next backward()."""
        self._saved = values

    def pop_saved(self) -> tuple[Any, ...]:
        """Return the values saved last, and delete them."""
        if self._saved is None:
            raise BackwardError(
                f"{self}: backward() called without a loss; call criterion(y, {self.target_name}) first"
            )
        saved, self._saved = self._saved, None
        return saved

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(shown_arguments(self))})"


def check_loss(criterion: Any, who: str, model: Any = None) -> None:
    """Raise DtypeError for anything but a loss: a class, say, or a function without backward().

    Warn if the model ends in the activation that the loss applies itself.
    """
    if isinstance(criterion, type) or not callable(criterion):
        raise DtypeError(
            f"{who}: expected criterion to be a loss, got {criterion!r:.60}; "
            "pass SoftmaxCrossEntropy(), an object and not the class"
        )
    if not callable(getattr(criterion, "backward", None)):
        raise DtypeError(
            f"{who}: expected criterion to have backward(), got {criterion!r:.60}; "
            "define it, so that it returns dL/dy, as xpcnn.losses.Loss says"
        )
    last = model
    while isinstance(last, Sequential) and last.layers:
        last = last.layers[-1]
    applied = getattr(criterion, "applies", None)
    if applied is not None and isinstance(last, applied):
        name = type(last).__name__
        warnings.warn(
            XpcnnWarning(
                f"{who}: the model ends in {name}, which {type(criterion).__name__} applies itself: gradients get too "
                f"small; leave the last layer out, model[:-1]"
            ),
            stacklevel=4,
        )


def check_targets(criterion: Any, targets: Any, output_shape: Any, who: str) -> None:
    """Let a loss check the targets of a data set, if it can; its message then begins with `who`."""
    check = getattr(criterion, "check_targets", None)
    if check is None:
        return
    try:
        check(targets, output_shape)
    except XpcnnError as error:
        raise type(error)(f"{who}: {str(error).removeprefix(f'{criterion}: ')}") from None


def weight(criterion: Any, targets: Any, output_shape: Any, by_sample: bool = False) -> float:
    """Return `Loss.count` of a loss; of one that has no such method, or `by_sample`, the number of samples."""
    count = Loss().count if by_sample else getattr(criterion, "count", Loss().count)
    return float(count(targets, output_shape))


def multiplier(criterion: Any, targets: Any, output_shape: Any, by_sample: bool = False) -> float:
    """Return what makes of a batch's loss a sum over the batch: 1 if it is a sum already."""
    if getattr(criterion, "reduction", MEAN) == SUM:
        return 1
    return weight(criterion, targets, output_shape, by_sample)


def known_reduction(reduction: Any, who: str) -> str:
    """Return "mean" or "sum"."""
    if isinstance(reduction, str) and reduction in (MEAN, SUM):
        return reduction
    raise HyperparameterError(
        f"{who}: expected reduction to be 'mean' or 'sum', got {reduction!r:.60}; pass 'mean': a loss is one number"
    )


def one_output(output_shape: Any, who: object) -> tuple[int, ...]:
    """Return the shape of the one output that a model has."""
    if any(isinstance(length, (tuple, list)) for length in output_shape):
        raise DatasetError(
            f"{who}: expected a model with one output, got outputs of {output_shape}; "
            "write a loss of your own that takes them all, as xpcnn.losses.Loss says"
        )
    return tuple(output_shape)
