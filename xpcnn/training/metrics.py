"""How good predictions are, on the host: whole numbers counted, then divided once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from xpcnn.errors import DatasetError, ShapeError
from xpcnn.errors.checks import whole
from xpcnn.losses import SoftmaxCrossEntropy

__all__ = [
    "ClassMetrics",
    "ConfusionMatrix",
    "accuracy",
    "accuracy_of",
    "confusion_matrix",
    "per_class",
]


def accuracy(
    predictions: np.ndarray, labels: np.ndarray, *, axis: int = 1, ignore_index: int | None = None
) -> float:
    """Return the share of predicted classes that equal their label, from 0 to 1.

    Both may be classes (M,), or rows (M,D) whose largest element tells the class: scores, one-hot labels. For maps
    they are scores (N,C,H,W) and labels (N,H,W), and the share is that of all pixels.

    Parameters
    ----------
    axis : int
        The axis of the classes in scores.
    ignore_index : int
        Integer labels of this value are left out.

    Raises
    ------
    ShapeError
        If there are none, or not as many predictions as labels.

    >>> accuracy(np.array([1, 2, 3, 3]), np.array([1, 2, 3, 4]))
    0.75
    """
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    found, true = predictions, labels
    if labels.ndim == predictions.ndim > 1 and (labels.ndim == 2 or predictions.dtype.kind == "f"):
        found, true = _largest(predictions, axis), _largest(labels, axis)
    elif predictions.ndim > labels.ndim:
        found = _largest(predictions, axis)
    elif labels.ndim > predictions.ndim:
        true = _largest(labels, axis)
    if true.ndim == 0 or found.shape != true.shape:
        raise ShapeError(
            f"accuracy: expected as many predictions as labels, got {predictions.shape} and {labels.shape}; "
            f"pass both of one data set, scores with the classes on axis {axis}"
        )
    right = found == true
    if ignore_index is not None:
        right = right[true != ignore_index]
    if right.size == 0:
        raise ShapeError(
            f"accuracy: expected as many predictions as labels, got {predictions.shape} and {labels.shape}, and none "
            "that counts; pass at least one"
        )
    return float(right.mean())


def accuracy_of(criterion: Any) -> Callable[[Any, Any], float] | None:
    """Return the accuracy for a loss of classes, with its axis and ignored label; None for other losses."""
    if not isinstance(criterion, SoftmaxCrossEntropy):
        return None

    @functools.wraps(accuracy)
    def metric(predictions: np.ndarray, labels: np.ndarray) -> float:
        return accuracy(predictions, labels, axis=criterion.axis, ignore_index=criterion.ignore_index)

    return metric


def _largest(scores: np.ndarray, axis: int) -> np.ndarray:
    """Return the class with the largest score."""
    place = axis + scores.ndim if axis < 0 else axis
    if not 1 <= place < scores.ndim or scores.shape[place] < 2:
        raise ShapeError(
            f"accuracy: expected as many predictions as labels, or scores of at least two classes on axis {axis}, got "
            f"{scores.shape}; pass another axis, or for one score y: metric=lambda y, t: ((y > 0) == t).mean()"
        )
    return np.asarray(scores.argmax(axis=axis))


class ConfusionMatrix(np.ndarray):
    """Counts by label (row) and predicted class (column), which a notebook shows as a table."""

    def __repr__(self) -> str:
        return repr(np.asarray(self))

    def _repr_html_(self) -> str | None:
        if self.ndim != 2:
            return None  # a row or a sum of it: shown as text
        head = "".join(f"<th>{column}</th>" for column in range(self.shape[1]))
        body = ""
        for label, row in enumerate(self.tolist()):
            body += f"<tr><th>{label}</th>"
            for predicted, count in enumerate(row):
                red, green, blue = (31, 111, 180) if predicted == label else (200, 64, 47)
                share = count / max(sum(row), 1)
                body += f'<td style="background:rgba({red},{green},{blue},{share:.2f})">{count}</td>'
            body += "</tr>"
        return f"<table><caption>label (row), prediction (column)</caption><tr><th></th>{head}</tr>{body}</table>"


def confusion_matrix(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> ConfusionMatrix:
    """Count images by label (row) and predicted class (column): integers of (num_classes, num_classes).

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    whole(num_classes, "num_classes", "confusion_matrix")
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if predictions.shape != labels.shape or labels.ndim != 1:
        raise ShapeError(
            f"confusion_matrix: expected as many predictions as labels, (M,), got {predictions.shape} and "
            f"{labels.shape}; pass both of one data set"
        )
    for classes in (predictions, labels) if labels.size else ():
        if classes.dtype.kind not in "iu" or not (0 <= classes.min() and classes.max() < num_classes):
            raise DatasetError(
                f"confusion_matrix: expected classes from 0 to {num_classes - 1}, got {classes.dtype.name} from "
                f"{classes.min()} to {classes.max()}; pass a larger num_classes, or integers"
            )
    pairs = labels.astype(np.int64) * num_classes + predictions.astype(np.int64)
    counts = np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    return counts.view(ConfusionMatrix)


class ClassMetrics(NamedTuple):
    """One class: of the images called so, how many are (precision); of those that are, how many are found (recall)."""

    precision: float
    recall: float
    f1: float
    support: int


def per_class(confusion: np.ndarray) -> list[ClassMetrics]:
    """Return precision, recall, F1 and support of every class; 0 where there is nothing to divide by."""
    metrics = []
    for found, called, support in zip(confusion.diagonal(), confusion.sum(0), confusion.sum(1), strict=True):
        precision, recall = found / max(called, 1), found / max(support, 1)
        f1 = 2 * found / max(called + support, 1)
        metrics.append(ClassMetrics(float(precision), float(recall), float(f1), int(support)))
    return metrics


def __dir__() -> list[str]:
    return __all__
