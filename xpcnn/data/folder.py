"""A folder of images, a class a folder: ``data.folder("pets", size=64)``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xpcnn.data.splits import Dataset, Split
from xpcnn.errors import DatasetError, ExtraError
from xpcnn.errors.checks import whole

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
CHANNELS = {1: "L", 3: "RGB"}
MOST_PIXELS = 100_000_000
"""Of one image: a file of a few kilobytes can claim any size."""


class ImageFolder(Dataset):
    """A `Dataset`, with the names of its classes: labels 0, 1, ... stand for ``classes[0], classes[1], ...``."""

    classes: tuple[str, ...] = ()


def folder(
    path: str | os.PathLike[str],
    size: int | tuple[int, int] | None = None,
    *,
    channels: int = 3,
    test: float = 0.2,
) -> ImageFolder:
    """Read images (N, channels, H, W), uint8, and their labels from folders that are named as the classes.

    Either ``path/CLASS/*.png`` and so on, of which a share `test` of each class is kept for the test, always the
    same images; or ``path/train/CLASS/...`` and ``path/test/CLASS/...``. Classes are in alphabetical order. What is
    no image, by its name's end, is left out. All images are in memory at once.

    Parameters
    ----------
    size : int or (height, width)
        Resize each image: its shorter side to `size`, of which the middle is cut out. None if all have one size.
    channels : 3 for colour, 1 for grey
    test : from 0 to 1

    Raises
    ------
    DatasetError
        For a folder without classes or images, a damaged image, or images of several sizes and no `size`.
    ExtraError
        If Pillow is not installed.
    """
    root = Path(path).expanduser()
    if channels not in CHANNELS:
        raise DatasetError(f"folder: expected channels 1 (grey) or 3 (colour), got {channels!r}")
    if not 0 <= test < 1:
        raise DatasetError(
            f"folder: expected test from 0 up to 1, a share of the images, got {test!r}; pass 0.2, say"
        )
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; name one that has a folder of images for each class")
    parts = {part: root / part for part in ("train", "test") if (root / part).is_dir()}
    if len(parts) == 2 and _classes(parts["train"]):
        names = _classes(parts["train"])
        if unknown := sorted(set(_classes(parts["test"])) - set(names)):
            raise DatasetError(
                f"{parts['test']}: the class {unknown[0]!r} is not in {parts['train']}; add it there"
            )
        files = {part: {name: _images(where / name) for name in names} for part, where in parts.items()}
    else:
        names = _classes(root)
        files = {"train": {}, "test": {}}
        for name in names:
            images = _images(root / name)
            chosen = set(
                np.random.default_rng(0).permutation(len(images))[: round(test * len(images))].tolist()
            )
            files["test"][name] = [file for number, file in enumerate(images) if number in chosen]
            files["train"][name] = [file for number, file in enumerate(images) if number not in chosen]
    if len(names) < 2:
        raise DatasetError(
            f"{root}: expected a folder of images for each of at least two classes, got {', '.join(names) or 'none'}"
        )
    for part, by_class in files.items():
        if empty := [name for name, images in by_class.items() if not images and part == "train"]:
            raise DatasetError(
                f"{root}: the class {empty[0]!r} has no images to train on; add some ({_endings()})"
            )
    shape = (size, size) if isinstance(size, int) else size
    found = ImageFolder(*(_read(files[part], shape, channels) for part in ("train", "test")))
    found.classes = tuple(names)
    return found


def read_image(
    file: str | os.PathLike[str], size: tuple[int, int] | None = None, channels: int = 3
) -> NDArray[np.uint8]:
    """Read one image: (channels, H, W), uint8, upright by its EXIF orientation, resized to `size` if given.

    Raises
    ------
    DatasetError
        For a file that is missing, or not an image.
    ExtraError
        If Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ExtraError(
            f'reading images needs Pillow ({error}); run: pip install "xpcnn[images]"'
        ) from error
    try:
        with Image.open(file) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise DatasetError(f"{file}: it has {opened.width} x {opened.height} pixels; make it smaller")
            picture = ImageOps.exif_transpose(opened)
            if "transparency" in picture.info or picture.mode in (
                "RGBA",
                "LA",
                "PA",
            ):  # on white, as it is shown
                clear = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
            picture = picture.convert(CHANNELS[channels])
            if size is not None:
                whole(size[0], "size", "folder", fix="pass size=64, say")
                whole(size[1], "size", "folder", fix="pass size=64, say")
                picture = ImageOps.fit(picture, (size[1], size[0]), Image.Resampling.BILINEAR)
            pixels = np.asarray(picture)
    except FileNotFoundError:
        raise DatasetError(f"{file}: no such file; name an image") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(
            f"{file}: this is no image that can be read ({error}); repair or remove it"
        ) from error
    return np.ascontiguousarray(
        pixels[np.newaxis] if channels == 1 else pixels.transpose(2, 0, 1)
    )  # (C, H, W)


def _read(files: dict[str, list[Path]], size: tuple[int, int] | None, channels: int) -> Split:
    """Read all images of a split, one class after the other."""
    images: NDArray[np.uint8] | None = None
    named = [(file, label) for label, of_class in enumerate(files.values()) for file in of_class]
    for number, (file, _) in enumerate(named):
        image = read_image(file, size, channels)
        if images is None:
            images = np.empty((len(named), *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            _, H, W = image.shape
            raise DatasetError(
                f"{file}: it has {W} x {H} pixels, and {named[0][0].name} has {images.shape[3]} x {images.shape[2]}; "
                "pass size=64, say, to resize all images"
            )
        images[number] = image
    if images is None:
        images = np.empty((0, channels, *(size or (1, 1))), np.uint8)
    return Split(images, np.array([label for _, label in named], np.int64))


def _classes(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _images(where: Path) -> list[Path]:
    if not where.is_dir():
        return []
    found: Sequence[Path] = [file for file in where.rglob("*") if file.is_file()]
    return sorted(file for file in found if file.suffix.lower() in ENDINGS and not file.name.startswith("."))


def _endings() -> str:
    return ", ".join(ENDINGS)
