"""Images and their labels: a class that holds and cuts them, and what a user may pass in its place."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xpcnn.data.rows import Arrays, Rows, as_rows, each, is_sequence, parts
from xpcnn.errors import DatasetError, DtypeError
from xpcnn.errors.checks import is_number, is_whole


class Split:
    """Images and their labels, one for each image. ``images, labels = split`` unpacks both.

    ``len(split)`` counts images. ``split[:100]`` are the first hundred with their labels, as a Split; an array of
    indices or a mask may take the place of the slice. ``split[7]`` is one image and its label.

    Parameters
    ----------
    images : array (N,C,H,W), uint8 or floating, a tuple of arrays, or any object with len and []
    labels : array (N,...), a tuple of arrays, or any object with len and []

    Raises
    ------
    DatasetError
        If there are not as many labels as images.
    DtypeError
        For anything else, lists among it.

    Examples
    --------
    >>> split = Split(np.zeros((5, 1, 2, 2), np.uint8), np.arange(5))
    >>> split[1:4], split[3][1].item()
    (Split(3 images (1, 2, 2), uint8), 3)
    """

    images: Any
    labels: Any

    def __init__(self, images: Any, labels: Any, who: str = "Split") -> None:
        check_images(images, who)
        rows = {id(part): as_rows(part, f"{who}: expected images") for part in parts(images)}
        rows |= {
            id(part): as_rows(part, f"{who}: expected labels")
            for part in parts(labels)
            if id(part) not in rows
        }
        # targets that are the images themselves stay one object
        self.images = each(lambda part: rows[id(part)], images)
        self.labels = self.images if labels is images else each(lambda part: rows[id(part)], labels)
        check_lengths(self.images, self.labels, who)

    def __len__(self) -> int:
        return len(parts(self.images)[0])

    def __iter__(self) -> Any:
        return iter((self.images, self.labels))

    def __getitem__(self, index: Any) -> Any:
        if is_whole(index):
            return each(lambda part: part[index], self.images), each(lambda part: part[index], self.labels)
        index = index if isinstance(index, slice) else np.asarray(index)
        if not isinstance(index, slice) and index.dtype.kind not in "iub" and index.size:
            raise DatasetError(
                f"Split: expected a number, a slice, indices or a mask, got {index!r:.60}; pass split[:100], say"
            )
        taken = {id(part): _take(part, index) for value in self for part in parts(value)}
        images, labels = (each(lambda part: taken[id(part)], value) for value in self)
        return Split(images, images if self.labels is self.images else labels)

    def __repr__(self) -> str:
        shown = ", ".join(f"{tuple(part.shape[1:])}, {part.dtype}" for part in parts(self.images))
        return f"Split({len(self):,} images {shown})"


class Dataset(NamedTuple):
    """What a model learns from, and what it is tested on."""

    train: Split
    test: Split


def split(dataset: Any, share: float | int, rng: np.random.Generator | int | None = 0) -> tuple[Split, Split]:
    """Cut a data set in two at random, class by class: ``train, validation = split(mnist.train, 0.1)``.

    Each class gives the second part its share, rounded so that the total is exact: classes are as frequent in both
    parts as before. Targets other than one class an image are drawn without regard to their values. The images stay in
    order.

    Parameters
    ----------
    dataset : Split, or (images, labels)
    share : float between 0 and 1, or int
        Of the second part: a share of the images, or their number.
    rng : numpy Generator or seed

    Raises
    ------
    DatasetError
        If one of the two parts would be empty.

    Examples
    --------
    >>> rest, held = split((np.zeros((8, 1, 2, 2), np.uint8), np.arange(8) % 2), 0.25)
    >>> len(rest), held.labels.tolist()
    (6, [0, 1])
    """
    whole = Split(*pair(dataset, "split"))
    count = share if is_whole(share) else round(share * len(whole)) if is_number(share) and share < 1 else 0
    if not 0 < count < len(whole):
        raise DatasetError(
            f"split: expected a share between 0 and 1, or a number of images below {len(whole):,}, with images in both "
            f"parts, got {share!r}; pass 0.1, say"
        )
    if rng is not None and not is_whole(rng) and not isinstance(rng, np.random.Generator):
        raise DatasetError(
            f"split: expected rng as a numpy Generator or a seed, got {rng!r}; pass rng=0, say"
        )
    generator = np.random.default_rng(rng)
    held = np.zeros(len(whole), bool)
    classes, members = np.unique(_classes(whole), return_inverse=True)
    counts, remainders = np.divmod(np.bincount(members) * count, len(whole))
    # the largest remainders are rounded up, in random order among equal ones
    order = np.lexsort((generator.permutation(len(classes)), -remainders))
    counts[order[: count - counts.sum()]] += 1
    for number, wanted in enumerate(counts):
        held[generator.permutation(np.flatnonzero(members == number))[:wanted]] = True
    return whole[~held], whole[held]


def pair(dataset: Any, who: str) -> tuple[Any, Any]:
    """Return (images, labels) of what a user passes as a data set.

    An object with len and [] that gives (image, label) is read once for its labels.

    Raises
    ------
    DatasetError
        For anything else, such as a Dataset, which has two halves.
    """
    if isinstance(dataset, Dataset):
        half = "test" if who == "evaluate" else "train"
        raise DatasetError(
            f"{who}: expected (images, labels), got a Dataset, which has train and test; pass its .{half}"
        )
    if isinstance(dataset, Split):
        return dataset.images, dataset.labels
    if isinstance(dataset, (tuple, list)) and len(dataset) == 2:
        return dataset[0], dataset[1]
    first = dataset[0] if is_sequence(dataset) and len(dataset) else None
    if isinstance(first, (tuple, list)) and len(first) == 2:
        return Rows(_First(dataset)), np.stack([np.asarray(dataset[i][1]) for i in range(len(dataset))])
    raise DatasetError(
        f"{who}: expected (images, labels), got {type(dataset).__name__}; pass both as a tuple"
    )


def check_images(images: Any, who: str) -> None:
    """Raise DatasetError for a whole data set in place of its images, and for no input at all."""
    if isinstance(images, (Split, Dataset)):
        fix = "images" if isinstance(images, Split) else "test.images"
        raise DatasetError(f"{who}: expected images, got a {type(images).__name__}; pass its .{fix}")
    if isinstance(images, tuple) and not images:
        raise DtypeError(f"{who}: expected images, got an empty tuple; pass an array, or a tuple of arrays")


def check_lengths(images: Arrays, labels: Arrays, who: str) -> None:
    """Raise DatasetError unless all inputs and all targets have the same length."""
    size = len(parts(images)[0])
    for part in parts(images):
        if len(part) != size:
            raise DatasetError(
                f"{who}: expected as many of each input, got {size} and {len(part)}; pass all of one split"
            )
    for part in parts(labels):
        if len(part) != size:
            raise DatasetError(
                f"{who}: expected as many labels as images, got {size} images and {len(part)} labels; "
                "pass both of one split"
            )


class _First:
    """The images of an object that gives (image, label)."""

    def __init__(self, pairs: Any) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Any:
        return self.pairs[index][0]


def _take(part: Any, index: Any) -> Any:
    return part.take(index) if isinstance(part, Rows) else part[index]


def _classes(dataset: Split) -> NDArray[Any]:
    """Return the class of each image, or zeros if the labels are not classes."""
    labels = dataset.labels
    if isinstance(labels, (np.ndarray, Rows)):
        if labels.ndim == 1 and labels.dtype.kind in "iu":
            return labels[:]
        if labels.ndim == 2 and labels.shape[1] > 1:
            rows = labels[:]
            if ((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all():
                return np.asarray(rows.argmax(axis=1))
    return np.zeros(len(dataset), np.int64)
