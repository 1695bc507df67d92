"""What a transform is: a function of (images, rng), or of (images, targets, rng) where the targets change too."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xpcnn.errors import DatasetError, DtypeError, ShapeError, XpcnnWarning
from xpcnn.errors.checks import function, number

Rng: TypeAlias = np.random.Generator | None

Transformation: TypeAlias = Callable[..., Any]
"""(images, rng) -> images, or (images, targets[, rng]) -> (images, targets): see `takes_targets`."""

TARGET_NAMES = frozenset(("targets", "target", "labels", "label", "maps", "masks"))


class Compose:
    """One transform after another.

    >>> from xpcnn.data import Crop, Flip
    >>> Compose(Crop(4), Flip())
    Compose(Crop(4), Flip(0.5))
    """

    def __init__(self, *transforms: Transformation) -> None:
        for transform in transforms:
            function(transform, "every transform", "Compose", "pass Compose(Crop(4), Flip()), say")
        self.transforms = transforms

    def __call__(self, images: Any, rng: Rng = None) -> Any:
        for transform in self.transforms:
            if takes_targets(transform):
                raise DatasetError(f"{self!r}: {transform!r:.60} needs targets; {_TARGETS_FIX}")
            images = transform(images, rng)
        return images

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.transforms))})"


class Paired:
    """Transforms of images whose targets are maps: what moves the pixels moves the targets by the same draws.

    `Crop`, `Shift`, `Flip` and `RandomAffine` change both, `Normalize` the images alone. `RandomAffine` interpolates,
    so it refuses maps of integer classes.

    Parameters
    ----------
    transforms : of this package, or functions of (images, targets, rng)
    fill : number
        The target where pixels come in from outside: the loss's ``ignore_index``, say.

    Raises
    ------
    DatasetError
        For a function that does not say what it does to targets.
    ShapeError
        For targets that are not maps, (N,H,W) or (N,C,H,W).

    Examples
    --------
    >>> from xpcnn.data import Flip
    >>> images, maps = np.float32([[[[1, 2]]]]), np.array([[[1, 2]]])
    >>> Paired(Flip(1.0), fill=255)(images, maps, np.random.default_rng(0))
    (array([[[[2., 1.]]]], dtype=float32), array([[[2, 1]]]))
    """

    def __init__(self, *transforms: Transformation, fill: float = 0) -> None:
        self.fill = number(fill, "fill", "Paired", fix="pass the loss's ignore_index", error=DatasetError)
        self.transforms = [one for transform in transforms for one in _flat(transform)]
        for one in self.transforms:
            function(one, "every transform", "Paired", "pass Paired(Crop(4), Flip()), say")
            if getattr(one, "moves_pixels", None) is None and not takes_targets(one):
                raise DatasetError(
                    f"Paired: expected Crop, Flip, another of xpcnn.data, or a function of (images, targets, rng), got "
                    f"{one!r:.60}; let it take targets and return both"
                )

    def __call__(self, images: Any, targets: Any, rng: Rng = None) -> tuple[Any, Any]:
        for transform in self.transforms:
            if takes_targets(transform):
                images, targets = apply(transform, images, targets, rng)
                continue
            again = twin(rng)
            if getattr(transform, "moves_pixels", False):
                targets = self._move(transform, targets, np.shape(images)[2:], again)
            images = transform(images, rng)
        return images, targets

    def _move(self, transform: Transformation, targets: Any, size: tuple[int, ...], rng: Rng) -> NDArray[Any]:
        maps = targets[:, np.newaxis] if np.ndim(targets) == 3 else targets  # (N, 1, H, W)
        if np.ndim(maps) != 4 or maps.shape[2:] != size:
            raise ShapeError(
                f"{self!r}: expected targets that are maps of the images' size {size}, got shape {np.shape(targets)}; "
                "pass the transforms without Paired where targets do not move with the pixels"
            )
        again = twin(rng)
        inside = transform(np.ones((len(maps), 1, *size), np.float32), rng)
        moved = transform(maps, again)
        return np.where(inside == 0, self._outside(maps.dtype), moved).reshape(targets.shape)

    def _outside(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        fill = np.asarray(self.fill).astype(dtype)
        if fill != self.fill:
            raise DatasetError(
                f"{self!r}: targets of {dtype} cannot hold fill={self.fill}; convert them, say to int64"
            )
        return fill

    def __repr__(self) -> str:
        return f"Paired({', '.join(map(repr, self.transforms))}, fill={self.fill})"


def takes_targets(transform: Any) -> bool:
    """Tell whether a transform changes targets too: it has three parameters, or its second one is named for targets.

    >>> takes_targets(lambda images, targets: (images, targets)), takes_targets(lambda images, rng: images)
    (True, False)
    """
    if isinstance(transform, Compose):
        return any(map(takes_targets, transform.transforms))
    try:
        parameters = list(inspect.signature(transform).parameters.values())
    except (TypeError, ValueError):
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in positional if p.default is p.empty]
    return len(needed) > 2 or (len(positional) > 1 and positional[1].name in TARGET_NAMES)


def check_transform(transform: Any, who: str) -> None:
    """Raise DtypeError for anything but a function of (images, rng) or (images, targets, rng)."""
    fix = "pass a function of (images, rng), or of (images, targets, rng), such as Flip()"
    function(transform, "transform", who, fix)
    try:
        signature = inspect.signature(transform)
    except (TypeError, ValueError):  # a built-in function need not have one
        return
    try:
        signature.bind(*range(3 if takes_targets(transform) and len(signature.parameters) > 2 else 2))
    except TypeError as error:
        raise DtypeError(
            f"{who}: expected transform to be a function of (images, rng), got {transform!r:.60} ({error}); {fix}"
        ) from None


def warn_of_maps(transform: Any, image: Any, target: Any) -> None:
    """Warn where a transform moves the pixels of the images, and their targets are maps that stay as they are."""
    moving = [one for one in _flat(transform) if getattr(one, "moves_pixels", False)]
    if moving and target.ndim > 2 and target.shape[-2:] == image.shape[-2:]:
        warnings.warn(
            XpcnnWarning(
                f"{moving[0]!r} moves the pixels of the images, and not those of their targets, which are maps; "
                f"pass Paired({moving[0]!r}), which moves both"
            ),
            stacklevel=4,
        )


def apply(transform: Transformation, images: Any, targets: Any, rng: Rng) -> tuple[Any, Any]:
    """Return images and targets after a transform of either kind."""
    if isinstance(transform, Compose):
        for one in transform.transforms:
            images, targets = apply(one, images, targets, rng)
        return images, targets
    if not takes_targets(transform):
        return transform(images, rng), targets
    positional = len(inspect.signature(transform).parameters)
    both = transform(images, targets) if positional == 2 else transform(images, targets, rng)
    if not isinstance(both, tuple) or len(both) != 2:
        raise DatasetError(
            f"{transform!r:.60}: expected it to return (images, targets), got {type(both).__name__}; return both"
        )
    return both


def check_images_only(transform: Any, who: str) -> None:
    """Raise DatasetError for a transform of targets where there are none to change."""
    if transform is not None and takes_targets(transform):
        raise DatasetError(f"{who}: expected a transform of the images alone, got {transform!r:.60}; "
                           "leave it out: augmentation is for training")  # fmt: skip


_TARGETS_FIX = "pass it to train(transform=...), or call it with (images, targets, rng)"


def _flat(transform: Any) -> list[Any]:
    if isinstance(transform, Compose):
        return [one for member in transform.transforms for one in _flat(member)]
    return [transform]


def twin(rng: Rng) -> Rng:
    """Return a generator that draws the same numbers as this one from now on."""
    if not isinstance(rng, np.random.Generator):
        return rng
    twin: Any = np.random.Generator(type(rng.bit_generator)())
    twin.bit_generator.state = rng.bit_generator.state
    return twin  # type: ignore[no-any-return]
