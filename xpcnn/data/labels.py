"""Checks of labels and targets, on the host, before the first step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcnn.errors import DatasetError, DtypeError


def check_labels(
    labels: NDArray[Any],
    num_classes: int,
    who: str,
    *,
    shape: tuple[int, ...] = (),
    axis: int = 1,
    ignore_index: int | None = None,
) -> None:
    """Raise unless labels are integers (N,) in [0, num_classes) or one-hot rows (N, num_classes).

    Parameters
    ----------
    shape : tuple of int
        Of the labels of one sample: (H,W) for maps, where every pixel has a class. Integers are then (N,H,W).
    axis : int
        The axis of the classes in rows of probabilities: 1 for (N, num_classes, H, W).
    ignore_index : int
        One more integer that is allowed.

    Raises
    ------
    DatasetError
        Beginning with `who`, which names the first bad label.
    DtypeError
        For anything but an array.

    Examples
    --------
    >>> check_labels(np.array([3, 10]), 10, "train")
    Traceback (most recent call last):
    xpcnn.errors.DatasetError: train: expected labels from 0 to 9, got 10 at index 1; ...
    """
    check_host_array(labels, f"{who}: expected labels")
    rows = (*shape[: axis - 1], num_classes, *shape[axis - 1 :])
    if labels.ndim == len(rows) + 1:
        if labels.shape[1:] != rows:
            fix = "encode the labels anew"
            if labels.shape[axis] != num_classes:
                fix = f"build the model with num_classes={labels.shape[axis]}, or {fix}"
            raise DatasetError(
                f"{who}: expected one-hot labels {of_samples(rows)}, got {labels.shape}; {fix}"
            )
        if labels.dtype.kind not in "biuf" or (wrong := bad_probabilities(labels)).size:
            got = labels.dtype if labels.dtype.kind not in "biuf" else wrong[0]
            raise DatasetError(
                f"{who}: expected rows of probabilities, finite and none below 0, got {got}; correct the labels"
            )
        return
    if labels.ndim == 0 or labels.shape[1:] != shape or labels.dtype.kind not in "iu":
        fix = integer_advice(labels)
        if labels.ndim and labels.shape[1:] != shape:
            fix = f"pass one label for each {'position of the output' if shape else 'sample'}"
        raise DatasetError(
            f"{who}: expected integer labels {of_samples(shape)} or one-hot labels {of_samples(rows)}, got "
            f"{labels.dtype} {labels.shape}; {fix}"
        )
    wrong = (labels < 0) | (labels >= num_classes)
    if ignore_index is not None:
        wrong &= labels != ignore_index
    if wrong.any():
        first = tuple(map(int, np.argwhere(wrong)[0]))
        allowed = "" if ignore_index is None else f", or {ignore_index}"
        raise DatasetError(
            f"{who}: expected labels from 0 to {num_classes - 1}{allowed}, got {labels[first]} at index "
            f"{first if shape else first[0]}; "
            "correct the labels, or build the model with as many classes as they have"
        )


def integer_advice(labels: NDArray[Any]) -> str:
    """Return how to repair labels that should be integers: a conversion must not cut off what makes them differ."""
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.rint(labels)):
        return "for numbers to predict, use MeanSquaredError(); classes are whole numbers"
    return "convert with labels.astype(np.int64)"


def of_samples(shape: tuple[int, ...]) -> str:
    """Return how a message writes the shape of N samples.

    >>> of_samples(()), of_samples((3, 8))
    ('(N,)', '(N, 3, 8)')
    """
    return f"(N, {', '.join(map(str, shape))})" if shape else "(N,)"


def bad_probabilities(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the elements of rows of probabilities that are below 0 or not finite."""
    wrong: NDArray[Any] = labels[~(np.isfinite(labels) & (labels >= 0))]
    return wrong


def check_host_array(array: object, expected: str, axes: int = 0) -> None:
    """Raise DtypeError, whose message begins with `expected`, unless `array` is NumPy's and has so many axes."""
    if not isinstance(array, np.ndarray):
        raise DtypeError(
            f"{expected} as a NumPy array, got {type(array).__name__}; "
            "convert with np.asarray, or with to_host from a device"
        )
    if array.ndim < axes:
        raise DtypeError(f"{expected}, one after another, got a single number, {array}; pass np.array([...])")
