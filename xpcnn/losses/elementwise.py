"""Losses that compare each element of y with one of the target."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpcnn.backend import Array, check_array
from xpcnn.data.labels import check_host_array, of_samples
from xpcnn.errors import DatasetError, DtypeError, ShapeError
from xpcnn.kernels.precision import computing
from xpcnn.losses.base import MEAN, Loss, known_reduction, one_output


class Elementwise(Loss):
    """The base of losses that are a mean over elements: L = 1/M sum l(y, t), M the number of elements of y.

    With reduction "sum" L = sum l(y, t). The target has the shape of y, or, where axis 1 of y has length one, the
    shape of y without that axis: (N,) for y of (N,1), (N,H,W) for y of (N,1,H,W).

    Raises
    ------
    ShapeError
        If y and t differ in shape, or have no batch axis.
    DtypeError
        For y that is not floating, or targets that are no numbers.
    DatasetError
        For an empty batch; in `check_targets` for targets that are not finite or do not fit.
    BackwardError
        In backward() without a call before.
    HyperparameterError
        For an unknown reduction.
    """

    def __init__(self, reduction: str = MEAN) -> None:
        self.reduction = known_reduction(reduction, type(self).__name__)

    def __call__(self, y: Array, target: Array) -> Array:
        check_array(y, self)
        check_array(target, self)
        self._check(y, target)
        wide = computing(y.dtype)
        values, slopes = self.values_and_slopes(
            y.astype(wide, copy=False), target.astype(wide, copy=False).reshape(y.shape)
        )
        divisor = self.divisor(y) if self.reduction == MEAN else 1
        self.save_for_backward(slopes, divisor, y.dtype)
        return values.sum() / divisor

    def backward(self) -> Array:
        """Return dL/dy."""
        slopes, divisor, dtype = self.pop_saved()
        return (slopes / divisor).astype(dtype, copy=False)

    def values_and_slopes(self, y: Array, target: Array) -> tuple[Array, Array]:
        """Return l(y, t) and dl/dy for each element, of the shape of y."""
        raise NotImplementedError(f"{type(self).__name__} has no values_and_slopes()")

    def divisor(self, array: Array) -> int:
        """Return what the mean over these outputs, or targets, divides by: their number of elements."""
        return int(array.size)

    def check_targets(self, targets: Any, output_shape: Any) -> None:
        output_shape = one_output(output_shape, self)
        check_host_array(targets, f"{self}: expected targets", axes=1)
        if not _fits((len(targets), *output_shape), targets.shape):
            raise DatasetError(
                f"{self}: expected targets of shape {of_samples(output_shape)} like the model's output, got "
                f"{targets.shape}; reshape the targets, or give the last layer as many outputs"
            )
        if targets.dtype.kind not in "biuf":
            raise DtypeError(
                f"{self}: expected targets that are numbers, got {targets.dtype.name}; "
                "pass targets.astype('float32')"
            )
        if targets.dtype == np.uint8 and targets.ndim > 2 and targets.max(initial=0) > 1:
            raise DatasetError(
                f"{self}: expected floating images as targets, got uint8, which is not scaled to [0, 1] as inputs are; "
                "pass targets / np.float32(255), or the array of the inputs itself"
            )
        self._check_values(targets)

    def count(self, targets: Any, output_shape: Any) -> float:
        return self.divisor(targets)

    def _check_values(self, targets: np.ndarray) -> None:
        """Raise unless the values of targets on the host are possible ones."""
        if targets.dtype.kind == "f" and not np.isfinite(targets).all():
            index = tuple(map(int, np.argwhere(~np.isfinite(targets))[0]))
            raise DatasetError(
                f"{self}: expected finite targets, got {targets[index]} at index {index}; correct the targets"
            )

    def _check(self, y: Array, target: Array) -> None:
        if y.dtype.kind != "f":
            raise DtypeError(f"{self}: expected floating y, got {y.dtype.name}; pass the model's output")
        if target.dtype.kind not in "biuf":
            raise DtypeError(
                f"{self}: expected targets that are numbers, got {target.dtype.name}; pass target.astype('float32')"
            )
        if not _fits(y.shape, target.shape):
            raise ShapeError(f"{self}: expected targets of shape {y.shape}, got {target.shape}; reshape them")
        if y.ndim == 0:
            raise ShapeError(f"{self}: expected a batch, got shape (); pass y[None] for a batch of one")
        if y.size == 0:
            raise DatasetError(f"{self}: expected at least one row, got y of {y.shape}; pass a larger batch")


def _fits(y: tuple[int, ...], target: tuple[int, ...]) -> bool:
    return target == y or (len(y) > 1 and y[1] == 1 and target == y[:1] + y[2:])
