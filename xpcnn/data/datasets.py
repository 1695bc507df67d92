"""MNIST, Fashion-MNIST and CIFAR-10, all of one shape.

>>> (images, labels), (test_images, test_labels) = mnist()
>>> images.shape, images.dtype.name, labels[:5].tolist()
((60000, 1, 28, 28), 'uint8', [5, 0, 4, 1, 9])

Images are uint8 (N, C, H, W), labels int64 (N,). A folder may be named by `data_dir` or, for
the whole process, by the environment variable XPCNN_DATA; a data set's files are in its
subfolder (mnist, fashion-mnist, cifar10) or in the folder itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcnn._disk.caches import say, user_folder
from xpcnn.data import cifar
from xpcnn.data.download import Source, check_published, download
from xpcnn.data.embedded import read_embedded
from xpcnn.data.idx import read_idx
from xpcnn.data.labels import check_labels
from xpcnn.data.sources import CIFAR10, FASHION_MNIST
from xpcnn.data.splits import Dataset, Split
from xpcnn.errors import DatasetError

Folder = str | os.PathLike[str]

CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fashion-mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}  # fmt: skip

# MNIST's names, which Fashion-MNIST kept
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def mnist(data_dir: Folder | None = None) -> Dataset:
    """Return MNIST: 60,000 and 10,000 handwritten digits, (N, 1, 28, 28).

    The files are inside the package. `data_dir` reads others of the same format instead, plain,
    .gz or .xz; XPCNN_DATA does so where that folder holds them.

    Raises
    ------
    DatasetError
        Where `data_dir` lacks a file, or a file is broken.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document Recognition",
    1998.
    """
    paths = _find_idx("mnist", data_dir)
    if paths:
        return _from_idx("mnist", paths)
    if data_dir is not None:
        raise DatasetError(
            f"mnist: expected the files {', '.join(IDX_FILES)} (or .gz, .xz) in {_folder(data_dir)} or its "
            "subfolder mnist; put them there, or leave data_dir out for the embedded copy"
        )
    return _dataset("mnist", [read_embedded(name) for name in IDX_FILES], ["the embedded MNIST"] * 4)


def fashion_mnist(
    data_dir: Folder | None = None, *, source: Source | None = None, quiet: bool = False
) -> Dataset:
    """Return Fashion-MNIST: 60,000 and 10,000 articles of clothing, (N, 1, 28, 28).

    Read from the folder `data_dir`, else XPCNN_DATA, else the user's cache (see `cache_folder`); what
    is not there is downloaded into its subfolder fashion-mnist (30 MB). quiet hides the progress bar.

    Files that were published are checked by size and SHA-256 whenever they are read. A folder that you name may hold
    data of your own in the same format, which is reported on stderr; with a `source` of your own it may not.

    Raises
    ------
    DatasetError
        Where a file is broken or no mirror answers.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms", 2017.
    """
    paths = _find_idx("fashion-mnist", data_dir)
    if not paths:
        download(source or FASHION_MNIST, _folder(data_dir) / "fashion-mnist", quiet=quiet)
        paths = _find_idx("fashion-mnist", data_dir)
    _check_source(source, FASHION_MNIST, paths, data_dir)
    return _from_idx("fashion-mnist", paths)


def cifar10(data_dir: Folder | None = None, *, source: Source | None = None, quiet: bool = False) -> Dataset:
    """Return CIFAR-10: 50,000 and 10,000 small photographs, (N, 3, 32, 32).

    Read from the folder `data_dir`, else XPCNN_DATA, else the user's cache (see `cache_folder`), as
    cifar-10-binary.tar.gz or unpacked; what is not there is downloaded into its subfolder cifar10
    (170 MB). quiet hides the progress bar. The archive is checked as in `fashion_mnist`.

    Raises
    ------
    DatasetError
        Where a file is broken or no mirror answers.

    References
    ----------
    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    path = _find_cifar(data_dir)
    if path is None:
        (path,) = download(source or CIFAR10, _folder(data_dir) / "cifar10", quiet=quiet)
    _check_source(source, CIFAR10, [path], data_dir)
    contents = cifar.read_folder(path) if path.is_dir() else cifar.read_archive(path)
    splits = []
    for part in (cifar.TRAIN, cifar.TEST):
        names = [f"{path}: {name}" for name in part]
        images, labels = cifar.parse_records([contents[name] for name in part], names)
        check_labels(labels, 10, f"cifar10: {path}")
        splits.append(Split(images, labels))
    return Dataset(*splits)


LOADERS: dict[str, Callable[..., Dataset]] = {
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "cifar10": cifar10,
}


def load(name: str, data_dir: Folder | None = None, *, quiet: bool = False) -> Dataset:
    """Return the data set called "mnist", "fashion-mnist" or "cifar10"."""
    _check_name(name)
    return mnist(data_dir) if name == "mnist" else LOADERS[name](data_dir, quiet=quiet)


def class_names(name: str) -> tuple[str, ...]:
    """Return the names of the classes 0, 1, ... of a data set.

    >>> class_names("fashion-mnist")[9]
    'Ankle boot'
    """
    _check_name(name)
    return CLASS_NAMES[name]


def cache_folder() -> Path:
    r"""Return the folder for downloads, unless data_dir or XPCNN_DATA names another.

    Windows: %LOCALAPPDATA%\xpcnn; macOS: ~/Library/Caches/xpcnn; elsewhere $XDG_CACHE_HOME/xpcnn,
    which is ~/.cache/xpcnn unless set.

    Raises
    ------
    DatasetError
        Where the user has no home folder.
    """
    folder = user_folder()
    if folder is None:
        raise DatasetError(
            "there is no home folder to keep data sets in; name a folder with data_dir or the environment variable "
            "XPCNN_DATA"
        )
    return folder


def _check_name(name: str) -> None:
    if name not in LOADERS:
        raise DatasetError(f"load: expected one of {', '.join(map(repr, LOADERS))}, got {name!r}")


def _folder(data_dir: Folder | None) -> Path:
    named = data_dir if data_dir is not None else os.environ.get("XPCNN_DATA")
    try:
        return Path(named).expanduser() if named else cache_folder()
    except RuntimeError as error:
        raise DatasetError(
            f"{named}: ~ means the home folder, and there is none; write the whole path"
        ) from error


def _find_idx(name: str, data_dir: Folder | None) -> list[Path]:
    """Return the paths of all four files in one folder, or an empty list."""
    for folder in (_folder(data_dir) / name, _folder(data_dir)):
        found = [[p for end in ("", ".gz", ".xz") if (p := folder / (n + end)).is_file()] for n in IDX_FILES]
        if all(found):
            return [paths[0] for paths in found]
    return []


def _find_cifar(data_dir: Folder | None) -> Path | None:
    """Return the unpacked archive's folder, or the archive."""
    for folder in (_folder(data_dir) / "cifar10", _folder(data_dir)):
        for unpacked in (folder, folder / "cifar-10-batches-bin"):
            if all((unpacked / name).is_file() for name in cifar.TRAIN + cifar.TEST):
                return unpacked
        if (folder / cifar.ARCHIVE).is_file():
            return folder / cifar.ARCHIVE
    return None


def _check_source(
    source: Source | None, published: Source, paths: list[Path], data_dir: Folder | None
) -> None:
    """Check files that have the names of published ones, unless a folder that the user named holds other data.

    It holds other data if no file has the size of the published one. Where some files do, the others are damaged.
    """
    ours = data_dir is None and not os.environ.get("XPCNN_DATA")
    known = {file.name: file for file in published.files}
    named = [path for path in paths if path.name in known]
    if source or ours:
        check_published(source or published, paths)
    elif named and all(path.stat().st_size != known[path.name].size for path in named):
        say(f"{published.name}: {named[0].parent} holds files of other sizes than those that were published, and is "
            "read as data of your own")  # fmt: skip
    else:
        check_published(published, paths)


def _from_idx(name: str, paths: list[Path]) -> Dataset:
    arrays: list[NDArray[Any]] = []
    for images, labels in (paths[:2], paths[2:]):
        arrays.append(read_idx(images))
        arrays.append(read_idx(labels, most=4096 + 8 * len(arrays[-1])))  # of any dtype, one for each image
    return _dataset(name, arrays, [f"{name}: {path}" for path in paths])


def _dataset(name: str, arrays: list[NDArray[Any]], who: list[str]) -> Dataset:
    dataset = Dataset(_split(arrays[:2], who[:2]), _split(arrays[2:], who[2:]))
    counts = np.bincount(dataset.test.labels, minlength=10)
    if counts.sum() == 10_000 and (name == "fashion-mnist") != bool(np.all(counts == 1_000)):
        # both use the same file names; only Fashion-MNIST has 1,000 test images of each class
        other = "mnist" if name == "fashion-mnist" else "fashion-mnist"
        raise DatasetError(
            f"{who[3]}: expected {name}, got the labels of {other}; keep the two in subfolders "
            "mnist and fashion-mnist"
        )
    return dataset


def _split(arrays: list[NDArray[Any]], who: list[str]) -> Split:
    (images, labels), (images_who, labels_who) = arrays, who
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28) or len(images) == 0:
        raise DatasetError(
            f"{images_who}: expected uint8 images (N, 28, 28), at least one, got {images.dtype} {images.shape}; "
            "put the data set's own file there"
        )
    if labels.shape != images.shape[:1]:
        raise DatasetError(
            f"{labels_who}: expected one label for each of {len(images)} images, got shape {labels.shape}; "
            "fetch both files again, from one place"
        )
    check_labels(labels, 10, labels_who)
    return Split(images[:, np.newaxis], labels.astype(np.int64))
