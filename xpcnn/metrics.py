"""How good predictions are, on the host: whole numbers counted, then divided once."""

from typing import NamedTuple

import numpy as np

from xpcnn.checks import whole
from xpcnn.errors import DatasetError, ShapeError


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of predicted classes that equal their label, from 0 to 1.

    Both may be classes (M,), or rows (M,D) whose largest element tells the class: scores, one-hot labels.

    Raises
    ------
    ShapeError
        If there are none, or not as many predictions as labels.

    >>> accuracy(np.array([1, 2, 3, 3]), np.array([1, 2, 3, 4]))
    0.75
    """
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    found, true = (rows.argmax(axis=1) if rows.ndim == 2 else rows for rows in (predictions, labels))
    if true.ndim != 1 or len(true) == 0 or found.shape != true.shape:
        raise ShapeError(
            f"accuracy: expected as many predictions as labels, got {predictions.shape} and {labels.shape}; "
            "pass both of one data set, and at least one"
        )
    return float((found == true).mean())


def confusion_matrix(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
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
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


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
