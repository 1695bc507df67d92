"""The images that a command works on: a data set by name or a folder, cut to a limit, some held back for validation."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from xpcnn import data
from xpcnn.data import Split
from xpcnn.errors import DatasetError


class Sets(NamedTuple):
    """Images to train on, to choose the best epoch by (None: there are none), and to test on; and their classes."""

    train: Split
    validation: Split | None
    test: Split
    classes: tuple[str, ...]


def load_dataset(
    name: str,
    data_dir: Path | None,
    size: tuple[int, int] | None = None,
    channels: int = 3,
    quiet: bool = False,
) -> Sets:
    """Read a data set of `xpcnn.data` by its name, or, for "folder", the images in `data_dir`.

    Raises
    ------
    DatasetError
        If it cannot be read.
    ExtraError
        If a folder's images need Pillow, and it is not installed.
    """
    if name != "folder":
        dataset = data.load(name, data_dir, quiet=quiet)
        return Sets(Split(*dataset.train), None, Split(*dataset.test), data.class_names(name))
    if data_dir is None:
        raise DatasetError(
            "--dataset folder: pass --data-dir DIR, a folder with a folder of images for each class"
        )
    found = data.folder(data_dir, size, channels=channels)
    if len(found.test.labels) == 0:
        raise DatasetError(
            f"{data_dir}: there are no images to test on; add some, at least three for each class"
        )
    return Sets(found.train, None, found.test, found.classes)


def limited(sets: Sets, train: int | None, test: int | None) -> Sets:
    """Return the first images only, None for all."""
    return sets._replace(train=_first(sets.train, train), test=_first(sets.test, test))


def _first(split: Split, count: int | None) -> Split:
    return Split(split.images[:count], split.labels[:count])


def with_validation(sets: Sets, count: int) -> Sets:
    """Hold `count` training images back: of each class its share, the same images for every seed of the training.

    Raises
    ------
    DatasetError
        If too few images would be left.
    """
    images, labels = sets.train
    if count >= len(images):
        raise DatasetError(
            f"--validation {count}: there are {len(images):,} images to train on; hold back fewer, "
            f"{max(len(images) // 10, 1)} say"
        )
    order = np.random.default_rng(0).permutation(len(images))
    # the place of each image among those of its class, from 0 to 1: the lowest places are held back
    place = np.empty(len(images))
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        place[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
    held = np.zeros(len(images), bool)
    held[order[np.argsort(place[order], kind="stable")[:count]]] = True
    return sets._replace(
        train=Split(images[~held], labels[~held]), validation=Split(images[held], labels[held])
    )
