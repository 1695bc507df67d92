"""Losses: how wrong the model is, one number, and where its gradient begins."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpcnn import ops
from xpcnn.backend import Array, check_array
from xpcnn.checks import number
from xpcnn.data.batches import weights_that_are_none
from xpcnn.errors import BackwardError, DatasetError, DtypeError, ShapeError
from xpcnn.precision import computing


class SoftmaxCrossEntropy:
    """The mean cross-entropy between softmax(logits) and the labels.

        L = -1/M sum over m of  log softmax(logits[m])[label[m]]        dL/dlogits = (softmax(logits) - t) / M

    ``loss = criterion(logits, labels)``, then ``model.backward(criterion.backward())``. The loss stays on the
    device, a 0-d array there: ``float(loss)`` waits for it.

    Labels are integers of shape (M,), or rows t of (M,D), one-hot or any weights of at least 0: then L is the mean of
    -t log softmax(logits), and the gradient (softmax(logits) sum(t) - t) / M. Logits are (M,D). More leading axes are
    allowed on both. Labels on the host are checked to be in range.

    Raises
    ------
    ShapeError
        For labels that do not belong to logits of that shape.
    DtypeError
        For integer labels of a floating dtype, or logits that are not floating.
    DatasetError
        For a label below 0 or above D - 1, or a probability below 0 or not finite.
    BackwardError
        In backward() without a call before.
    """

    def __init__(self) -> None:
        self._saved: tuple[Array, Array, tuple[int, ...]] | None = None

    def __call__(self, logits: Array, labels: Array) -> Array:
        check_array(logits, self)
        check_array(labels, self)
        D = self._check(logits, labels)
        one_hot = labels.shape == logits.shape
        labels = labels.reshape(-1, D).astype(logits.dtype) if one_hot else labels.reshape(-1)
        loss, probabilities = ops.softmax_cross_entropy(logits.reshape(-1, D), labels)
        self._saved = probabilities, labels, logits.shape
        return loss

    def backward(self) -> Array:
        """Return dL/dlogits, of the shape of the logits."""
        if self._saved is None:
            raise BackwardError(
                f"{self}: backward() called without a loss; call criterion(logits, labels) first"
            )
        (probabilities, labels, shape), self._saved = self._saved, None
        return ops.softmax_cross_entropy_backward(probabilities, labels).reshape(shape)

    def _check(self, logits: Array, labels: Array) -> int:
        if logits.dtype.kind != "f":
            raise DtypeError(
                f"{self}: expected floating logits, got {logits.dtype.name}; pass the model's output"
            )
        if logits.ndim < 2 or labels.shape not in (logits.shape, logits.shape[:-1]):
            raise ShapeError(
                f"{self}: expected labels of shape {logits.shape[:-1]} (integers) or {logits.shape} (one-hot) for "
                f"logits of {logits.shape}, got {labels.shape}; pass one label for each row of logits"
            )
        if logits.size == 0:
            raise DatasetError(
                f"{self}: expected at least one row, got logits of {logits.shape}; pass a larger batch"
            )
        D = int(logits.shape[-1])
        if labels.shape == logits.shape:
            if labels.dtype.kind not in "biuf":
                raise DtypeError(
                    f"{self}: expected rows of probabilities, got {labels.dtype.name}; pass labels.astype('float32')"
                )
            if isinstance(labels, np.ndarray) and (wrong := weights_that_are_none(labels)).size:
                raise DatasetError(
                    f"{self}: expected rows of probabilities, finite and none below 0, got {wrong[0]}; "
                    "correct the labels"
                )
            return D
        if labels.dtype.kind not in "iu":
            raise DtypeError(
                f"{self}: expected integer labels, got {labels.dtype.name}; pass labels.astype('int64')"
            )
        if isinstance(labels, np.ndarray) and not (0 <= labels.min() and labels.max() < D):
            wrong = labels[(labels < 0) | (labels >= D)][0]
            raise DatasetError(
                f"{self}: expected labels from 0 to {D - 1} for {D} logits, got {wrong}; "
                "count classes from 0, or give the last layer more outputs"
            )
        return D

    def __repr__(self) -> str:
        return "SoftmaxCrossEntropy()"


class MeanSquaredError:
    """Half the squared distance, averaged over the batch: L = 1/(2 N) sum (y - t)^2, dL/dy = (y - t) / N.

    The sum runs over all elements of a sample, as in the book's chapter 4.

    Raises
    ------
    ShapeError
        If y and t differ in shape, or have no batch axis.
    DtypeError
        For y that is not floating.
    DatasetError
        For an empty batch.
    BackwardError
        In backward() without a call before.
    """

    def __init__(self) -> None:
        self._saved: tuple[Array, Any] | None = None

    def __call__(self, y: Array, target: Array) -> Array:
        check_array(y, self)
        check_array(target, self)
        self._check(y, target)
        wide = computing(y.dtype)
        difference = y.astype(wide, copy=False) - target.astype(wide, copy=False)
        self._saved = difference, y.dtype
        return (difference * difference).sum() / (2 * len(y))

    def backward(self) -> Array:
        """Return dL/dy."""
        if self._saved is None:
            raise BackwardError(f"{self}: backward() called without a loss; call criterion(y, target) first")
        (difference, dtype), self._saved = self._saved, None
        return (difference / len(difference)).astype(dtype, copy=False)

    def _check(self, y: Array, target: Array) -> None:
        if y.dtype.kind != "f":
            raise DtypeError(f"{self}: expected floating y, got {y.dtype.name}; pass the model's output")
        if y.shape != target.shape:
            raise ShapeError(f"{self}: expected targets of shape {y.shape}, got {target.shape}; reshape them")
        if y.ndim == 0:
            raise ShapeError(f"{self}: expected a batch, got shape (); pass y[None] for a batch of one")
        if y.size == 0:
            raise DatasetError(f"{self}: expected at least one row, got y of {y.shape}; pass a larger batch")

    def __repr__(self) -> str:
        return "MeanSquaredError()"


class AuxiliaryCrossEntropy:
    """The loss of a network with auxiliary heads: theirs count too, but less.

        L = L(main) + weight (L(head 1) + L(head 2) + ...)        each L a SoftmaxCrossEntropy

    It takes the list that `layers.Auxiliary` gives in training, and backward() gives it the list that it wants.
    In evaluation there is one output and no list: then it is SoftmaxCrossEntropy.

    Parameters
    ----------
    weight : float
        0.3 in the paper.

    Raises
    ------
    As SoftmaxCrossEntropy does, and HyperparameterError for a weight below 0 or not finite.

    References
    ----------
    Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 5.
    """

    def __init__(self, weight: float = 0.3) -> None:
        self.weight = number(weight, "weight", "AuxiliaryCrossEntropy", 0, fix="the paper has 0.3")
        self._losses: list[SoftmaxCrossEntropy] | None = None

    def __call__(self, outputs: Array | Sequence[Array], labels: Array) -> Array:
        listed = isinstance(outputs, (list, tuple))
        main, *sides = outputs if listed else [outputs]
        self._listed, self._losses = listed, [SoftmaxCrossEntropy() for _ in (main, *sides)]
        loss, *others = [
            criterion(y, labels) for criterion, y in zip(self._losses, (main, *sides), strict=True)
        ]
        return loss + self.weight * sum(others) if others else loss

    def backward(self) -> Array | list[Array]:
        """Return dL/d(output) for each output, the main one first: a list if a list was given."""
        if self._losses is None:
            raise BackwardError(
                f"{self}: backward() called without a loss; call criterion(outputs, labels) first"
            )
        losses, self._losses = self._losses, None
        main, *sides = [criterion.backward() for criterion in losses]
        return [main, *(self.weight * dy for dy in sides)] if self._listed else main

    def __repr__(self) -> str:
        return f"AuxiliaryCrossEntropy(weight={self.weight})"
