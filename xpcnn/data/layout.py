"""Images whose axes are missing or in another order: which call fixes them, for the model that is given."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xpcnn.data.batches import Batches
from xpcnn.data.rows import each
from xpcnn.errors import ShapeError, XpcnnError


def output_shape(model: Any, feed: Batches, who: str) -> Any:
    """Return the shape of the model's output for one sample of a data set.

    Raises
    ------
    ShapeError
        If the images do not fit the model.
    """
    with explaining(model, feed, who):
        return model.output_shape(_sample(feed))


@contextmanager
def explaining(model: Any, feed: Batches, who: str) -> Iterator[None]:
    """Let a ShapeError in the ``with`` block say which call fixes the images, if another order of their axes fits."""
    try:
        yield
    except ShapeError as error:
        shape = _sample(feed)
        for other, fix in _other_layouts(shape):
            if _fits(model, other):
                raise ShapeError(
                    f"{who}: the images {(feed.size, *shape)} do not fit the model; {fix}"
                ) from error
        raise


def _sample(feed: Batches) -> Any:
    return each(lambda part: tuple(part.shape[1:]), feed.images)


def _other_layouts(shape: tuple[Any, ...]) -> list[tuple[tuple[int, ...], str]]:
    """Return what the shape of an image may have been meant as, each with the call that fixes the images."""
    if not all(isinstance(length, int) for length in shape):
        return []  # several inputs
    if len(shape) == 2:
        return [
            (
                (1, *shape),
                "pass images[:, np.newaxis], since the axis of the channels is missing: (N, 1, H, W)",
            ),
            (
                (*shape, 1),
                "pass images[..., np.newaxis], since the axis of the channels is missing: (N, H, W, 1)",
            ),
        ]
    if len(shape) == 3:
        A, B, C = shape
        return [
            (
                (C, A, B),
                "pass images.transpose(0, 3, 1, 2), since the model takes channels first: (N, C, H, W)",
            ),
            (
                (B, C, A),
                "pass images.transpose(0, 2, 3, 1), since the model takes channels last: (N, H, W, C)",
            ),
        ]
    if len(shape) == 1:
        sides = [(C, math.isqrt(shape[0] // C)) for C in (1, 3)]
        return [
            ((C, side, side), f"pass images.reshape(-1, {C}, {side}, {side}), since the images are flat")
            for C, side in sides
            if C * side * side == shape[0] > 0
        ]
    return []


def _fits(model: Any, shape: tuple[int, ...]) -> bool:
    try:
        model.output_shape(shape)
    except XpcnnError:
        return False
    return True
