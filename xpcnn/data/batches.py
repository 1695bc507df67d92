"""From a data set to the batches that a model is trained on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from xpcnn.data.rows import Arrays, each, parts
from xpcnn.data.splits import Split
from xpcnn.data.transformation import Transformation, apply, check_transform, warn_of_maps
from xpcnn.errors import DatasetError, DtypeError
from xpcnn.errors.checks import is_whole


class Batches:
    """(inputs, targets) in batches of `batch_size`; each iteration is a new shuffle. See `batches`."""

    def __init__(
        self,
        images: Arrays,
        labels: Arrays,
        batch_size: int,
        rng: np.random.Generator | None = None,
        transform: Transformation | None = None,
    ) -> None:
        data = Split(images, labels, "batches")
        self.images, self.labels, self.size = data.images, data.labels, len(data)
        if (
            not self._own_targets()
        ):  # labels are few numbers, and all of them are checked before the first step
            self.labels = each(lambda part: part[:], self.labels)
        for part in parts(self.images):
            if part.dtype != np.uint8 and part.dtype.kind != "f":
                raise DtypeError(
                    f"batches: expected images of dtype uint8 or floating, got {part.dtype}; "
                    "convert with images.astype(np.float32)"
                )
        if self.size == 0:
            raise DatasetError("batches: expected at least one image, got an empty data set; check its limit")
        if not is_whole(batch_size) or batch_size < 1:
            raise DatasetError(
                f"batches: expected batch_size >= 1, got {batch_size!r}; pass 100, say, a whole number"
            )
        if rng is not None and not isinstance(rng, np.random.Generator):
            raise DtypeError(  # a seed would give every epoch the same shuffle
                f"batches: expected rng as a numpy.random.Generator, got {rng!r}; "
                "make one, once, with np.random.default_rng(seed)"
            )
        if transform is not None:
            check_transform(transform, "batches")
            warn_of_maps(transform, parts(self.images)[0], parts(self.labels)[0])
        self.batch_size, self.rng, self.transform = int(batch_size), rng, transform
        self.order: NDArray[np.integer] | None = None

    def in_order(self, order: NDArray[np.integer]) -> Self:
        """Return batches of the images with these indices, in this order, without a shuffle."""
        ordered = copy.copy(self)
        ordered.order = order
        return ordered

    def inputs(self, index: Any) -> Any:
        """Return the images with these indices, floating, before the transform."""
        return each(lambda part: _floating(part[index]), self.images)

    def targets(self, index: Any = slice(None)) -> Any:
        """Return the targets with these indices as batches give them: scaled where they are the images themselves."""
        scaled = self._own_targets()
        return each(lambda part: _floating(part[index]) if scaled else np.asarray(part[index]), self.labels)

    def _own_targets(self) -> bool:
        return any(self.labels is images for images in (self.images, *parts(self.images)))

    def __len__(self) -> int:
        """Return the number of batches, the last and smaller one included."""
        return -(-(self.size if self.order is None else len(self.order)) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        order = self.shuffled()
        return (self.batch(order, number, self.rng) for number in range(len(self)))

    def shuffled(self) -> NDArray[np.integer] | None:
        """Return the order of this iteration, drawn from `rng`; None for the order of the data."""
        return self.rng.permutation(self.size) if self.order is None and self.rng is not None else self.order

    def batch(
        self, order: NDArray[np.integer] | None, number: int, rng: np.random.Generator | None
    ) -> tuple[Any, Any]:
        """Return one batch of an order, counted from 0; the transform draws from `rng`."""
        index: Any = slice(number * self.batch_size, (number + 1) * self.batch_size)
        index = index if order is None else order[index]
        images, targets = self.inputs(index), self.targets(index)
        return (images, targets) if self.transform is None else apply(self.transform, images, targets, rng)


def batches(
    images: Arrays,
    labels: Arrays,
    batch_size: int,
    rng: np.random.Generator | None = None,
    transform: Transformation | None = None,
) -> Batches:
    """Return an iterable of batches (images (B, ...), labels (B, ...)).

    uint8 images become float32 in [0, 1]; floating ones pass as they are. With `rng` each iteration
    is a fresh shuffle, without it in order. ``transform(images, rng)`` is applied to the floating
    batch of images, and ``transform(images, targets, rng)``, such as `Paired`, to both. The last batch holds the
    rest.

    Labels are targets of any shape, one for each image. Images as targets are scaled too if they are the same array:
    ``batches(images, images, 100)``. A tuple of arrays is several inputs, or several targets: a batch has tuples then,
    and `transform` is given the tuple of inputs. Memory maps, and images of any object with len and [], are read batch
    by batch.

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


def _floating(images: NDArray[Any]) -> NDArray[Any]:
    return np.divide(images, 255.0, dtype=np.float32) if images.dtype == np.uint8 else np.asarray(images)
