"""Average pooling: forward a thread a window, backward a thread a pixel."""

from typing import Any

from xpcnn.geometry import Window
from xpcnn.kernels.cuda.geometry import lengths
from xpcnn.kernels.cuda.launch import Device


def average_pool(device: Device, x: Any, window: Window, count_include_pad: bool = False) -> Any:
    """Substitute for `xpcnn.ops.average_pool`."""
    (x,) = device.contiguous(x)
    sizes = _sizes(x.shape, window, count_include_pad)
    y = device.xp.empty((*x.shape[:2], sizes["OH"], sizes["OW"]), x.dtype)
    device.launch("average_pool", y.size, x=x, y=y, **sizes)
    return y


def average_pool_backward(
    device: Device, dy: Any, image_size: tuple[int, int], window: Window, count_include_pad: bool = False
) -> Any:
    """Substitute for `xpcnn.ops.average_pool_backward`."""
    (dy,) = device.contiguous(dy)
    dx = device.xp.empty((*dy.shape[:2], *image_size), dy.dtype)
    sizes = _sizes(dx.shape, window, count_include_pad)
    device.launch("average_pool_backward", dx.size, dy=dy, dx=dx, **sizes)
    return dx


def _sizes(images: tuple[int, ...], window: Window, count_include_pad: bool) -> dict[str, int]:
    """Return the lengths, and how much of the padding on each side counts for the mean."""
    (above, below), (before, behind) = window.pads(*images[2:])
    pads = {"above": above, "below": below, "before": before, "behind": behind}
    counted = {name: length * count_include_pad for name, length in pads.items()}
    return {**lengths(images, window), **counted}
