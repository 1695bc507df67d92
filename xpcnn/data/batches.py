"""From a data set to the batches that a model is trained on."""

import copy
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xpcnn.errors import DatasetError, DtypeError
from xpcnn.errors.checks import is_whole

Transformation = Callable[[NDArray[Any], np.random.Generator | None], NDArray[Any]]

Arrays: TypeAlias = NDArray[Any] | tuple[NDArray[Any], ...]
"""One array, or a tuple of them: several inputs, several targets."""


class Batches:
    """(inputs, targets) in pieces of `batch_size`; each iteration shuffles anew. See `batches`."""

    def __init__(
        self,
        images: Arrays,
        labels: Arrays,
        batch_size: int,
        rng: np.random.Generator | None = None,
        transform: Transformation | None = None,
    ) -> None:
        check_inputs(images, "batches")
        for part in parts(labels):
            check_host_array(part, "batches: expected labels", axes=1)
        _check_generator(rng)
        for part in parts(images):
            if part.dtype != np.uint8 and part.dtype.kind != "f":
                raise DtypeError(
                    f"batches: expected images of dtype uint8 or floating, got {part.dtype}; "
                    "convert with images.astype(np.float32)"
                )
        self.size = len(parts(images)[0])
        if self.size == 0:
            raise DatasetError("batches: expected at least one image, got an empty data set; check its limit")
        for part in parts(images):
            if len(part) != self.size:
                raise DatasetError(
                    f"batches: expected as many of each input, got {self.size} and {len(part)}; pass all of one split"
                )
        for part in parts(labels):
            if len(part) != self.size:
                raise DatasetError(
                    f"batches: expected as many labels as images, got {self.size} images and {len(part)} labels; "
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

    def inputs(self, index: Any) -> Any:
        """Return the images with these indices, floating, before the transform."""
        return each(lambda part: _floating(part[index]), self.images)

    def targets(self, index: Any = slice(None)) -> Any:
        """Return the targets with these indices as batches give them: scaled where they are the images themselves."""
        scaled = any(self.labels is images for images in (self.images, *parts(self.images)))
        return each(lambda part: _floating(part[index]) if scaled else part[index], self.labels)

    def __len__(self) -> int:
        """Return the number of batches, the last and smaller one included."""
        return -(-self._count() // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        order = self.order
        if order is None and self.rng is not None:
            order = self.rng.permutation(self.size)
        for start in range(0, self._count(), self.batch_size):
            piece = slice(start, start + self.batch_size)
            index = piece if order is None else order[piece]
            images = self.inputs(index)
            if self.transform is not None:
                images = self.transform(images, self.rng)
            yield images, self.targets(index)

    def _count(self) -> int:
        return self.size if self.order is None else len(self.order)


def batches(
    images: Arrays,
    labels: Arrays,
    batch_size: int,
    rng: np.random.Generator | None = None,
    transform: Transformation | None = None,
) -> Batches:
    """Return an iterable of batches (images (B, ...), labels (B, ...)).

    uint8 images become float32 in [0, 1]; floating ones pass as they are. With `rng` each iteration
    is a fresh shuffle, without it in order. `transform(images, rng)` is applied to the floating
    batch of images; labels stay as they are. The last batch holds what is left.

    Labels are targets of any shape, one for each image. Images as targets are scaled too if they are the same array:
    ``batches(images, images, 100)``. A tuple of arrays is several inputs, or several targets: a batch has tuples then,
    and `transform` is given the tuple of inputs.

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


def parts(value: Any) -> tuple[Any, ...]:
    """Return the arrays of several inputs or targets, or the one that there is.

    >>> parts((1, 2)), parts(3)
    ((1, 2), (3,))
    """
    return value if isinstance(value, tuple) else (value,)


def each(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply a function to an array, or to each array of a tuple.

    >>> each(abs, -1), each(abs, (-1, 2))
    (1, (1, 2))
    """
    return tuple(map(function, value)) if isinstance(value, tuple) else function(value)


def check_inputs(images: Any, who: str) -> None:
    """Raise DtypeError unless `images` is a NumPy array, or a tuple of them, one for each input of the model."""
    if isinstance(images, tuple) and not images:
        raise DtypeError(f"{who}: expected images, got an empty tuple; pass an array, or a tuple of arrays")
    for part in parts(images):
        check_host_array(part, f"{who}: expected images", axes=1)


def _floating(images: NDArray[Any]) -> NDArray[Any]:
    return np.divide(images, 255.0, dtype=np.float32) if images.dtype == np.uint8 else images


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
        For what is no array.

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
        if labels.dtype.kind not in "biuf" or (wrong := weights_that_are_none(labels)).size:
            got = labels.dtype if labels.dtype.kind not in "biuf" else wrong[0]
            raise DatasetError(
                f"{who}: expected rows of probabilities, finite and none below 0, got {got}; correct the labels"
            )
        return
    if labels.ndim == 0 or labels.shape[1:] != shape or labels.dtype.kind not in "iu":
        fix = "convert with labels.astype(np.int64)"
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


def of_samples(shape: tuple[int, ...]) -> str:
    """Return how a message writes the shape of N samples.

    >>> of_samples(()), of_samples((3, 8))
    ('(N,)', '(N, 3, 8)')
    """
    return f"(N, {', '.join(map(str, shape))})" if shape else "(N,)"


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
