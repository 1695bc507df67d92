"""From a data set to the batches that a model is trained on."""

import copy
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from xpcnn.checks import is_whole
from xpcnn.errors import DatasetError, DtypeError

Transformation = Callable[[NDArray[Any], np.random.Generator | None], NDArray[Any]]


class Batches:
    """(images, labels) in pieces of `batch_size`; each iteration shuffles anew. See `batches`."""

    def __init__(
        self,
        images: NDArray[Any],
        labels: NDArray[Any],
        batch_size: int,
        rng: np.random.Generator | None = None,
        transform: Transformation | None = None,
    ) -> None:
        check_host_array(images, "batches: expected images", axes=1)
        check_host_array(labels, "batches: expected labels", axes=1)
        _check_generator(rng)
        if images.dtype != np.uint8 and images.dtype.kind != "f":
            raise DtypeError(
                f"batches: expected images of dtype uint8 or floating, got {images.dtype}; "
                "convert with images.astype(np.float32)"
            )
        if len(images) == 0:
            raise DatasetError("batches: expected at least one image, got an empty data set; check its limit")
        if len(images) != len(labels):
            raise DatasetError(
                f"batches: expected as many labels as images, got {len(images)} images and {len(labels)} labels; "
                "pass both of one split"
            )
        if not is_whole(batch_size) or batch_size < 1:
            raise DatasetError(
                f"batches: expected batch_size >= 1, got {batch_size!r}; pass 100, say, a whole number"
            )
        if transform is not None and not callable(transform):
            raise DtypeError(
                f"batches: expected transform as a function, got {transform!r:.60}; pass Flip(), say"
            )
        self.images = images
        self.labels = labels
        self.batch_size = batch_size
        self.rng = rng
        self.transform = transform
        self.order: NDArray[np.integer] | None = None

    def in_order(self, order: NDArray[np.integer]) -> Self:
        """Return batches of the images with these indices, as they stand there: a shuffle that is made already."""
        ordered = copy.copy(self)
        ordered.order = order
        return ordered

    def __len__(self) -> int:
        """Return the number of batches, the last and smaller one included."""
        return -(-self._count() // self.batch_size)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        order = self.order
        if order is None and self.rng is not None:
            order = self.rng.permutation(len(self.images))
        for start in range(0, self._count(), self.batch_size):
            piece = slice(start, start + self.batch_size)
            index = piece if order is None else order[piece]
            images = self.images[index]
            if images.dtype == np.uint8:
                images = np.divide(images, 255.0, dtype=np.float32)
            if self.transform is not None:
                images = self.transform(images, self.rng)
            yield images, self.labels[index]

    def _count(self) -> int:
        return len(self.images if self.order is None else self.order)


def batches(
    images: NDArray[Any],
    labels: NDArray[Any],
    batch_size: int,
    rng: np.random.Generator | None = None,
    transform: Transformation | None = None,
) -> Batches:
    """Return an iterable of batches (images (B, ...), labels (B,) or one-hot (B, classes)).

    uint8 images become float32 in [0, 1]; floating ones pass as they are. With `rng` each iteration
    is a fresh shuffle, without it in order. `transform(images, rng)` is applied to the floating
    batch. The last batch holds what is left.

    Raises
    ------
    DatasetError
        For an empty data set, unequal lengths or batch_size < 1.
    DtypeError
        For other dtypes.

    Examples
    --------
    >>> data = batches(np.zeros((5, 1, 2, 2), np.uint8), np.arange(5), batch_size=2)
    >>> len(data), [labels.tolist() for _, labels in data]
    (3, [[0, 1], [2, 3], [4]])
    """
    return Batches(images, labels, batch_size, rng, transform)


def check_labels(labels: NDArray[Any], num_classes: int, who: str) -> None:
    """Raise unless labels are integers (N,) in [0, num_classes) or one-hot rows (N, num_classes).

    Raises
    ------
    DatasetError
        Beginning with `who`, which names the first bad label.
    DtypeError
        For what is no array.

    Examples
    --------
    >>> check_labels(np.array([3, 10]), 10, "train")
    Traceback (most recent call last):
    xpcnn.errors.DatasetError: train: expected labels from 0 to 9, got 10 at index 1; ...
    """
    check_host_array(labels, f"{who}: expected labels")
    if labels.ndim == 2:
        if labels.shape[1] != num_classes:
            raise DatasetError(
                f"{who}: expected one-hot labels (N, {num_classes}), got {labels.shape}; "
                f"build the model with num_classes={labels.shape[1]}, or encode the labels anew"
            )
        if labels.dtype.kind not in "biuf" or (wrong := weights_that_are_none(labels)).size:
            got = labels.dtype if labels.dtype.kind not in "biuf" else wrong[0]
            raise DatasetError(
                f"{who}: expected rows of probabilities, finite and none below 0, got {got}; correct the labels"
            )
        return
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DatasetError(
            f"{who}: expected integer labels (N,) or one-hot labels (N, {num_classes}), got {labels.dtype} "
            f"{labels.shape}; convert with labels.astype(np.int64)"
        )
    bad = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if bad.size:
        raise DatasetError(
            f"{who}: expected labels from 0 to {num_classes - 1}, got {labels[bad[0]]} at index {bad[0]}; "
            "correct the labels, or build the model with as many classes as they have"
        )


def weights_that_are_none(labels: NDArray[Any]) -> NDArray[Any]:
    """Return what stands in rows of probabilities and is below 0, infinite or no number."""
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


def _check_generator(rng: object) -> None:
    if rng is not None and not isinstance(rng, np.random.Generator):
        # a seed would give every epoch the same shuffle
        raise DtypeError(
            f"batches: expected rng as a numpy.random.Generator, got {rng!r}; "
            "make one, once, with np.random.default_rng(seed)"
        )
