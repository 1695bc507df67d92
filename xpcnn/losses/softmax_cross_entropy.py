"""The cross-entropy of classes, from logits: of images, of the pixels of a map, of soft labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from xpcnn import ops
from xpcnn.backend import Array, active_backend, check_array, to_device, xp
from xpcnn.data.labels import bad_probabilities, check_host_array, check_labels
from xpcnn.errors import DatasetError, DtypeError, HyperparameterError, ShapeError
from xpcnn.errors.checks import is_number, is_whole, number
from xpcnn.kernels.precision import computing
from xpcnn.layers import Softmax
from xpcnn.losses.base import MEAN, SUM, Loss, known_reduction, one_output


class SoftmaxCrossEntropy(Loss):
    """The mean cross-entropy between softmax(logits) and the labels.

        L = -1/M sum over m of  log softmax(logits[m])[label[m]]        dL/dlogits = (softmax(logits) - t) / M

    ``loss = criterion(logits, labels)``, then ``model.backward(criterion.backward())``. The loss stays on the
    device, a 0-d array there: ``float(loss)`` waits for it.

    Labels are integers of shape (M,), or rows t of (M,D), one-hot or any weights of at least 0: then L is the mean of
    -t log softmax(logits), and the gradient (softmax(logits) sum(t) - t) / M. Logits are (M,D). More axes are allowed
    on both: integers have the shape of the logits without the axis of the classes. Labels on the host are checked to
    be in range; on a device a label out of range makes the loss NaN.

    Parameters
    ----------
    axis : int
        The axis of the classes: the last one, or 1 for maps, logits (N,C,H,W) and labels (N,H,W).
    label_smoothing : float, from 0 to 1
        e: t becomes (1 - e) t + e / D.
    class_weight : D numbers of at least 0
        w: class d counts w[d] times, t becomes w t. With integer labels the mean is then the weighted one,
        the sum over the rows divided by the sum of w[label]; with rows t it divides by M.
    ignore_index : int
        Rows with this integer label do not count, neither in the sum nor in the divisor of the mean, and their gradient
        is zero. A batch of such rows only has the loss 0, where PyTorch's is NaN.
    reduction : "mean" or "sum"
        With "sum" there is no divisor.

    Raises
    ------
    ShapeError
        For labels that do not belong to logits of that shape, an axis that they do not have, or another number of class
        weights than classes.
    DtypeError
        For integer labels of a floating dtype, or logits that are not floating.
    DatasetError
        For a label below 0 or above D - 1, or a probability below 0 or not finite.
    HyperparameterError
        For options out of their range.
    BackwardError
        In backward() without a call before.

    References
    ----------
    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, section 7, for label
    smoothing. The options together are computed as PyTorch does.
    """

    target_name = "labels"
    applies = Softmax

    def __init__(
        self,
        axis: int = -1,
        label_smoothing: float = 0.0,
        class_weight: Sequence[float] | None = None,
        ignore_index: int | None = None,
        reduction: str = MEAN,
    ) -> None:
        who = type(self).__name__
        self.axis = _whole(axis, "axis", who, "pass 1 for maps (N,C,H,W)")
        self.label_smoothing = number(label_smoothing, "label_smoothing", who, 0, 1, fix="0.1 is usual")
        self.class_weight = None if class_weight is None else _class_weights(class_weight, who)
        self.ignore_index = (
            None if ignore_index is None else _whole(ignore_index, "ignore_index", who, "pass 255, say")
        )
        self.reduction = known_reduction(reduction, who)
        self._weights: tuple[tuple[Any, ...], Array] | None = None

    def __call__(self, logits: Array, labels: Array) -> Array:
        check_array(logits, self)
        if not hasattr(labels, "dtype"):
            raise DtypeError(
                f"{self}: expected labels as an array, an integer for each row of logits, got {type(labels).__name__}; "
                "pass to_device(np.array([3, 1, 2])), say"
            )
        check_array(labels, self)
        axis = self._check(logits, labels)
        soft, dtype = labels.shape == logits.shape, logits.dtype
        if axis != logits.ndim - 1:
            logits = xp.moveaxis(logits, axis, -1)
            labels = xp.moveaxis(labels, axis, -1) if soft else labels
        shape, D = logits.shape, logits.shape[-1]
        rows = logits.reshape(-1, D)  # (M, D)
        labels = labels.reshape(-1, D) if soft else labels.reshape(-1)
        if not self._plain:
            rows = rows.astype(computing(dtype), copy=False)
            labels = self._weighed(labels, D, rows.dtype)
        elif soft:
            labels = labels.astype(dtype)
        loss, probabilities = ops.softmax_cross_entropy(rows, labels)
        self.save_for_backward(probabilities, labels, shape, axis, dtype)
        return loss

    def backward(self) -> Array:
        """Return dL/dlogits, of the shape of the logits."""
        probabilities, labels, shape, axis, dtype = self.pop_saved()
        dlogits = ops.softmax_cross_entropy_backward(probabilities, labels).reshape(shape)
        if axis != len(shape) - 1:
            dlogits = xp.ascontiguousarray(xp.moveaxis(dlogits, -1, axis))
        return dlogits.astype(dtype, copy=False)

    def check_targets(self, targets: Any, output_shape: Any) -> None:
        output_shape = one_output(output_shape, self)
        check_host_array(targets, f"{self}: expected labels")
        axis = self._class_axis(len(output_shape) + 1)
        shape = output_shape[: axis - 1] + output_shape[axis:]
        if len(output_shape) > 1 and targets.shape[1:] == output_shape[1:] != shape:
            raise DatasetError(
                f"{self}: expected labels for outputs of {output_shape} with the classes on axis {axis}, got maps of "
                f"{targets.shape}; pass SoftmaxCrossEntropy(axis=1)"
            )
        D = output_shape[axis - 1]
        check_labels(targets, D, str(self), shape=shape, axis=axis, ignore_index=self.ignore_index)
        self._check_options(D, soft=targets.ndim == len(output_shape) + 1)
        if not self.count(targets, output_shape):
            raise DatasetError(
                f"{self}: expected a label that counts, got none that is not ignored and has a class weight above 0; "
                "correct the labels or the options"
            )

    def count(self, targets: Any, output_shape: Any) -> float:
        soft = targets.ndim == len(output_shape) + 1
        if self.reduction == MEAN and (soft or (self.class_weight is None and self.ignore_index is None)):
            return len(targets)
        if soft:
            return int(targets.size) // int(output_shape[self._class_axis(targets.ndim) - 1])
        counted = targets if self.ignore_index is None else targets[targets != self.ignore_index]
        if self.class_weight is None:
            return int(counted.size)
        times = np.bincount(counted.ravel().astype(np.int64), minlength=len(self.class_weight))
        return math.fsum(times * np.array(self.class_weight))

    @property
    def _plain(self) -> bool:
        """Whether no option is set, so that the op alone computes the loss."""
        options = self.label_smoothing, self.class_weight, self.ignore_index, self.reduction
        return options == (0, None, None, MEAN)

    def _weighed(self, labels: Array, D: int, dtype: Any) -> Array:
        """Return rows (M,D) of targets whose plain mean of cross-entropies is the loss with all options."""
        M, soft = len(labels), labels.ndim == 2
        kept = None  # (M,), if labels are ignored
        if soft:
            rows = labels.astype(dtype)
        else:
            labels = labels.astype(xp.int64)
            rows = (labels[:, None] == xp.arange(D)).astype(dtype)
            known = (labels >= 0) & (labels < D)
            if self.ignore_index is not None:
                kept = labels != self.ignore_index
                known |= ~kept
            rows = xp.where(known[:, None], rows, xp.nan).astype(dtype)  # on a device no error can be raised
        weights = None if self.class_weight is None else self._on_device(dtype)

        def weigh(rows: Array) -> Array:
            weighed = rows if weights is None else rows * weights
            return weighed if kept is None else xp.where(kept[:, None], weighed, 0).astype(dtype)

        divisor = M if soft else weigh(rows).sum()
        if self.label_smoothing:
            rows = (1 - self.label_smoothing) * rows + self.label_smoothing / D
        if self.reduction == SUM:
            return weigh(rows) * M
        if soft:
            return weigh(rows)
        nothing = xp.equal(divisor, 0).astype(dtype)  # 1 where all rows are zero
        return weigh(rows) * (M / (divisor + nothing))

    def _on_device(self, dtype: Any) -> Array:
        """Return the class weights as an array of the active device, uploaded once."""
        backend = active_backend()
        key = backend.name, backend.device, str(dtype)
        if self._weights is None or self._weights[0] != key:
            self._weights = key, to_device(np.array(self.class_weight, dtype))
        return self._weights[1]

    def _class_axis(self, ndim: int) -> int:
        """Return the axis of the classes, counted from the front, in logits of so many axes."""
        axis = self.axis + ndim if self.axis < 0 else self.axis
        if not 1 <= axis < ndim:
            raise ShapeError(
                f"{self}: expected logits with classes on axis {self.axis}, after the batch, got {ndim} axes; "
                f"pass an axis from 1 to {ndim - 1}"
            )
        return axis

    def _check_options(self, D: int, soft: bool) -> None:
        if self.class_weight is not None and len(self.class_weight) != D:
            raise ShapeError(
                f"{self}: expected {D} class weights for {D} classes, got {len(self.class_weight)}; "
                "pass one for each class"
            )
        if soft and self.ignore_index is not None:
            raise DatasetError(
                f"{self}: expected integer labels beside ignore_index, got rows of probabilities; "
                "leave ignore_index out: a row of zeros counts nothing"
            )

    def _check(self, logits: Array, labels: Array) -> int:
        """Return the axis of the classes."""
        if logits.dtype.kind != "f":
            raise DtypeError(
                f"{self}: expected floating logits, got {logits.dtype.name}; pass the model's output"
            )
        axis = self._class_axis(logits.ndim) if logits.ndim >= 2 else 0
        integers = logits.shape[:axis] + logits.shape[axis + 1 :]
        if logits.ndim < 2 or labels.shape not in (logits.shape, integers):
            fix = "pass one label for each row of logits"
            if logits.ndim > 2 and labels.shape == logits.shape[:1] + logits.shape[2:]:
                fix = "pass SoftmaxCrossEntropy(axis=1) for maps"
            raise ShapeError(
                f"{self}: expected labels of shape {integers} (integers) or {logits.shape} (one-hot) for "
                f"logits of {logits.shape}, got {labels.shape}; {fix}"
            )
        if logits.size == 0:
            raise DatasetError(
                f"{self}: expected at least one row, got logits of {logits.shape}; pass a larger batch"
            )
        D = int(logits.shape[axis])
        self._check_options(D, labels.shape == logits.shape)
        if labels.shape == logits.shape:
            if labels.dtype.kind not in "biuf":
                raise DtypeError(
                    f"{self}: expected rows of probabilities, got {labels.dtype.name}; pass labels.astype('float32')"
                )
            if isinstance(labels, np.ndarray) and (wrong := bad_probabilities(labels)).size:
                raise DatasetError(
                    f"{self}: expected rows of probabilities, finite and none below 0, got {wrong[0]}; "
                    "correct the labels"
                )
            return axis
        if labels.dtype.kind not in "iu":
            raise DtypeError(
                f"{self}: expected integer labels, got {labels.dtype.name}; pass labels.astype('int64')"
            )
        if isinstance(labels, np.ndarray) and not (0 <= labels.min() and labels.max() < D):
            wrong = labels[(labels < 0) | (labels >= D)]
            if self.ignore_index is not None:
                wrong = wrong[wrong != self.ignore_index]
            if wrong.size:
                raise DatasetError(
                    f"{self}: expected labels from 0 to {D - 1} for {D} logits, got {wrong[0]}; "
                    "count classes from 0, or give the last layer more outputs"
                )
        return axis


def _whole(value: Any, name: str, who: str, fix: str) -> int:
    if is_whole(value):
        return int(value)
    raise HyperparameterError(f"{who}: expected {name} to be a whole number, got {value!r:.60}; {fix}")


def _class_weights(values: Any, who: str) -> tuple[float, ...]:
    weights = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(weights, (list, tuple)) and weights and all(is_number(w) and w >= 0 for w in weights):
        floats = tuple(map(float, weights))
        if any(floats):
            return floats
    raise HyperparameterError(
        f"{who}: expected class_weight to be finite numbers of at least 0, got {values!r:.60}; "
        "pass one for each class, not all of them 0"
    )
