"""Augmentation: changes of an image that keep its class.

A transform takes a batch (N, C, H, W) and a Generator and returns a new batch of the same shape and dtype. It draws
anew for each image and never writes into its argument. A Generator in the same state gives the same result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from xpcnn.data.transformation import Rng
from xpcnn.errors import DatasetError, DtypeError, ShapeError
from xpcnn.errors.checks import is_number, number, whole


class Crop:
    """Pad with `padding` zeros on each side, then cut out the original size at a random place.

    Source: the augmentation of C.-Y. Lee et al., "Deeply-Supervised Nets", 2015, as used with
    CIFAR-10 by K. He et al., "Deep Residual Learning for Image Recognition", 2016.
    """

    moves_pixels = True

    def __init__(self, padding: int) -> None:
        who = f"{type(self).__name__}({padding!r})"
        self.padding = whole(padding, "padding", who, 0, fix="pass 0 for none", error=DatasetError)

    def __call__(self, images: NDArray[Any], rng: Rng = None) -> NDArray[Any]:
        N, _, H, W = _image_shape(images, self)
        P = self.padding
        top, left = _generator(rng, self).integers(0, 2 * P, size=(2, N), endpoint=True)
        padded = np.pad(images, ((0, 0), (0, 0), (P, P), (P, P)))
        crops = sliding_window_view(padded, (H, W), axis=(2, 3))  # (N, C, 2P + 1, 2P + 1, H, W), a view
        return np.ascontiguousarray(crops[np.arange(N), :, top, left])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.padding})"


class Shift(Crop):
    """Shift each image by up to `pixels` whole pixels in both directions; zeros come in. It is `Crop` renamed."""

    def __init__(self, pixels: int) -> None:
        super().__init__(pixels)


class Flip:
    """Mirror left and right with probability p. Not for digits: a mirrored 2 is not a 2."""

    moves_pixels = True

    def __init__(self, p: float = 0.5) -> None:
        self.p = number(p, "p", f"Flip({p!r})", 0, 1, fix="pass p=0.5, say", error=DatasetError)

    def __call__(self, images: NDArray[Any], rng: Rng = None) -> NDArray[Any]:
        N, _, _, _ = _image_shape(images, self)
        mirrored = _generator(rng, self).random(N) < self.p
        return np.where(mirrored[:, np.newaxis, np.newaxis, np.newaxis], images[..., ::-1], images)

    def __repr__(self) -> str:
        return f"Flip({self.p})"


class Normalize:
    """(x - mean) / std, for each channel; `mean` and `std` are numbers or one number a channel.

    Raises
    ------
    DatasetError
        Unless std > 0.
    DtypeError
        For integer images.
    ShapeError
        Where the numbers are not as many as the channels.

    Examples
    --------
    >>> Normalize(0.5, 0.25)(np.full((1, 1, 1, 1), 0.75, np.float32))
    array([[[[1.]]]], dtype=float32)
    """

    moves_pixels = False

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean, self.std = _one_a_channel(mean, "mean"), _one_a_channel(std, "std above 0")
        if not (self.std > 0).all():
            raise DatasetError(
                f"{self!r}: expected std above 0, got {self.std.min()}; leave constant channels out"
            )

    def __call__(self, images: NDArray[Any], rng: Rng = None) -> NDArray[Any]:
        _, C, _, _ = _image_shape(images, self)
        _check_floating(images, self)
        for numbers in (self.mean, self.std):
            if numbers.shape not in ((1,), (C,)):
                raise ShapeError(f"{self!r}: expected 1 or {C} numbers for {C} channels, got {numbers.shape}")
        # cast first: a float64 operand would make the images float64
        mean = self.mean.astype(images.dtype)[:, np.newaxis, np.newaxis]
        std = self.std.astype(images.dtype)[:, np.newaxis, np.newaxis]
        normalized: NDArray[Any] = (images - mean) / std
        return normalized

    def __repr__(self) -> str:
        return f"Normalize({self.mean.tolist()}, {self.std.tolist()})"


class RandomAffine:
    """Rotate, zoom and shift each image a little, about its centre; zeros come in.

    Each image has an angle from -degrees to degrees, a factor from 1 - scale to 1 + scale, and a displacement of up to
    `shift` pixels in both directions, all drawn uniformly. Pixels are interpolated between four neighbours (bilinear).

    Source: P. Simard, D. Steinkraus, J. Platt, "Best Practices for Convolutional Neural Networks
    Applied to Visual Document Analysis", 2003.
    """

    moves_pixels = True

    def __init__(self, degrees: float, scale: float = 0.0, shift: float = 0.0) -> None:
        self.degrees, self.scale, self.shift = degrees, scale, shift
        for name, most in (("degrees", math.inf), ("scale", 1), ("shift", math.inf)):
            fix = "pass 0 for none, or 0.1 for up to 10%" if name == "scale" else "pass 0 for none"
            number(vars(self)[name], name, self, 0, below=most, fix=fix, error=DatasetError)

    def __call__(self, images: NDArray[Any], rng: Rng = None) -> NDArray[Any]:
        N, _, _, _ = _image_shape(images, self)
        _check_floating(images, self)
        generator = _generator(rng, self)
        angle = np.deg2rad(generator.uniform(-self.degrees, self.degrees, N))
        factor = generator.uniform(1 - self.scale, 1 + self.scale, N)
        shift = generator.uniform(-self.shift, self.shift, (N, 2))
        return affine(images, angle, factor, shift)

    def __repr__(self) -> str:
        return f"RandomAffine(degrees={self.degrees}, scale={self.scale}, shift={self.shift})"


def affine(
    images: NDArray[Any], angle: NDArray[Any], factor: NDArray[Any], shift: NDArray[Any]
) -> NDArray[Any]:
    """Rotate by `angle` (radians, counter-clockwise on the screen), zoom by `factor`, shift by `shift` (down, right).

    images (N, C, H, W), floating; angle (N,), factor (N,), shift (N, 2) in pixels. Bilinear, zero
    outside.
    """
    N, C, H, W = images.shape
    if images.size == 0:
        return images.copy()
    # y = R(x - centre) * factor + centre + shift, solved for x: where each pixel came from
    row = np.arange(H)[:, np.newaxis] - (H - 1) / 2 - shift[:, 0, np.newaxis, np.newaxis]  # (N, H, 1)
    column = np.arange(W) - (W - 1) / 2 - shift[:, 1, np.newaxis, np.newaxis]  # (N, 1, W)
    cos = (np.cos(angle) / factor)[:, np.newaxis, np.newaxis]
    sin = (np.sin(angle) / factor)[:, np.newaxis, np.newaxis]
    source_row = cos * row + sin * column + (H - 1) / 2  # (N, H, W)
    source_column = cos * column - sin * row + (W - 1) / 2

    # a border of zeros, one before and two behind, so that every neighbour exists
    source_row = np.clip(source_row, -1, H) + 1
    source_column = np.clip(source_column, -1, W) + 1
    i, j = source_row.astype(np.intp), source_column.astype(np.intp)
    down = (source_row - i).astype(images.dtype)[:, np.newaxis]  # (N, 1, H, W)
    right = (source_column - j).astype(images.dtype)[:, np.newaxis]
    padded = np.pad(images, ((0, 0), (0, 0), (1, 2), (1, 2)))
    plane = np.arange(N * C).reshape(N, C, 1, 1) * ((H + 3) * (W + 3))
    corner = plane + (i * (W + 3) + j)[:, np.newaxis]  # (N, C, H, W), into the flat `padded`
    pixels = padded.reshape(-1)
    upper = pixels[corner] * (1 - right) + pixels[corner + 1] * right
    lower = pixels[corner + (W + 3)] * (1 - right) + pixels[corner + (W + 4)] * right
    between: NDArray[Any] = upper * (1 - down) + lower * down
    return between


def _one_a_channel(numbers: Any, name: str) -> NDArray[Any]:
    """Return a number or a sequence of numbers as an array of one axis."""
    listed = (
        numbers if isinstance(numbers, (Sequence, np.ndarray)) and not isinstance(numbers, str) else [numbers]
    )
    if np.ndim(listed) != 1 or len(listed) == 0 or not all(is_number(value) for value in listed):
        raise DatasetError(
            f"Normalize: expected {name}, finite, one number or one for each channel, got {numbers!r:.60}; "
            "pass 0.5, say"
        )
    return np.array([float(value) for value in listed])


def _image_shape(images: NDArray[Any], who: object) -> tuple[int, ...]:
    if not isinstance(images, np.ndarray):
        raise DtypeError(
            f"{who!r}: expected images as a NumPy array, got {type(images).__name__}; use np.asarray"
        )
    if images.ndim != 4:
        raise ShapeError(
            f"{who!r}: expected images (N, C, H, W), got {images.shape}; add the axes that are missing, "
            "as in images[:, np.newaxis]"
        )
    return images.shape


def _check_floating(images: NDArray[Any], who: object) -> None:
    if images.dtype.kind != "f":
        raise DtypeError(
            f"{who!r}: expected floating images, got {images.dtype}; convert with images / 255.0"
        )


def _generator(rng: Rng, who: object) -> np.random.Generator:
    if not isinstance(rng, np.random.Generator):
        raise DatasetError(f"{who!r}: draws at random, got rng={rng!r}; pass rng=np.random.default_rng(seed)")
    return rng
