"""Average pooling: a thread a window forward, a thread a pixel backward."""

from typing import Any

from xpcnn.geometry import Window
from xpcnn.kernels.cuda.geometry import lengths
from xpcnn.kernels.cuda.launch import Device


def average_pool(device: Device, x: Any, window: Window, count_include_pad: bool = False) -> Any:
    """Substitute for `xpcnn.ops.average_pool`."""
    (x,) = device.contiguous(x)
    known = lengths(x.shape, window)
    y = device.xp.empty((*x.shape[:2], known["OH"], known["OW"]), x.dtype)
    counted = _counted(x.shape, window, count_include_pad)
    device.launch("average_pool", y.size, x=x, y=y, **known, **counted)
    return y


def average_pool_backward(
    device: Device, dy: Any, image_size: tuple[int, int], window: Window, count_include_pad: bool = False
) -> Any:
    """Substitute for `xpcnn.ops.average_pool_backward`."""
    (dy,) = device.contiguous(dy)
    dx = device.xp.empty((*dy.shape[:2], *image_size), dy.dtype)
    known = lengths(dx.shape, window)
    counted = _counted(dx.shape, window, count_include_pad)
    device.launch("average_pool_backward", dx.size, dy=dy, dx=dx, **known, **counted)
    return dx


def _counted(images: tuple[int, ...], window: Window, count_include_pad: bool) -> dict[str, int]:
    """Return how far beyond the image pixels count for the mean."""
    (top, bottom), (left, right) = window.pads(*images[2:])
    return {
        name: length * count_include_pad
        for name, length in zip(
            ("above", "below", "before", "behind"), (top, bottom, left, right), strict=True
        )
    }
