"""Does an input fit a layer? One check of axes, channels and sizes for every layer.

`shape` is that of a batch, with ``batch=1``, or of one sample without the batch axis, with ``batch=0``.
"""

import math

from xpcnn.backend import Array
from xpcnn.errors import DtypeError, ShapeError
from xpcnn.errors.checks import whole
from xpcnn.layers.shapes import Shape


def check_channels(
    shape: Shape, channels: int | None, who: object, *, batch: int = 0, argument: str = "channels"
) -> None:
    """Raise ShapeError unless a shape, (N,C,...) or (C,...), has a channel axis, and `channels` along it."""
    if len(shape) <= batch:
        raise ShapeError(
            f"{who}: expected (N, C, ...), got shape {tuple(shape)}; pass x[None] for a batch of one, or x "
            "with a channel axis"
        )
    if channels not in (None, shape[batch]):
        raise ShapeError(
            f"{who}: expected {channels} channels, got {shape[batch]} in {tuple(shape)}; pass {argument}={shape[batch]}"
        )


def image_shape(
    shape: Shape, who: object, channels: int | None = None, *, batch: int = 0, data_format: str = "NCHW"
) -> tuple[int, int, int]:
    """Return (C, H, W) of images, or raise ShapeError: for other axes, or for other than `channels` channels."""
    if len(shape) != batch + 3:
        axes = f"({', '.join(data_format[1 - batch :])})"
        if not batch:
            fix = "put it before Flatten, and give shapes without the batch axis"
            raise ShapeError(f"{who}: expected one image, {axes}, got {tuple(shape)}; {fix}")
        fix = f"x.reshape to four axes, {data_format}"
        if len(shape) == 3:
            gray = channels == 1 != shape[0]
            fix = "x[:, None] for images of one channel" if gray else "x[None] for a batch of one"
        raise ShapeError(f"{who}: expected a batch of images, {axes}, got shape {tuple(shape)}; pass {fix}")
    C, H, W = shape[batch:] if data_format == "NCHW" else (shape[-1], *shape[batch:-1])
    if channels not in (None, C):
        fix = f"pass in_channels={C}"
        if data_format == "NCHW" and shape[-1] == channels:
            fix = "pass x.transpose(0, 3, 1, 2) if the channels are its last axis"
        raise ShapeError(f"{who}: expected {channels} channels, got {C} in {tuple(shape)}; {fix}")
    return C, H, W


def check_images(x: Array, who: object) -> None:
    """Raise ShapeError unless x is a batch of images, and DtypeError unless it holds floating-point numbers."""
    image_shape(x.shape, who, batch=1)
    if x.dtype.kind != "f":
        raise DtypeError(
            f"{who}: expected floating-point images, got {x.dtype.name}; pass x.astype('float32')"
        )


def check_groups(in_channels: int, out_channels: int, groups: int, who: str) -> None:
    """Raise ShapeError unless all are whole numbers from 1 up, and groups divides the channels."""
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
        whole(value, name, who)
    if in_channels % groups or out_channels % groups:
        raise ShapeError(
            f"{who}({in_channels}, {out_channels}, groups={groups}): groups must divide both in_channels and "
            f"out_channels; pass one of {divisors(math.gcd(in_channels, out_channels))}"
        )


def divisors(number: int) -> list[int]:
    """Return all whole numbers that divide a number, in order.

    >>> divisors(6)
    [1, 2, 3, 6]
    """
    return [d for d in range(1, number + 1) if number % d == 0]
