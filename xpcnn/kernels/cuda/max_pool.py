"""Max pooling: forward a thread a window, backward a thread a pixel."""

from typing import Any

from xpcnn.geometry import Window
from xpcnn.kernels.cuda.geometry import lengths
from xpcnn.kernels.cuda.launch import Device


def max_pool(device: Device, x: Any, window: Window) -> tuple[Any, Any]:
    """Substitute for `xpcnn.ops.max_pool`."""
    (x,) = device.contiguous(x)
    sizes = lengths(x.shape, window)
    shape = (*x.shape[:2], sizes["OH"], sizes["OW"])
    dtype = device.xp.uint8 if window.size[0] * window.size[1] <= 256 else device.xp.int32
    y, winner = device.xp.empty(shape, x.dtype), device.xp.empty(shape, dtype)
    device.launch("max_pool", y.size, x=x, y=y, winner=winner, **sizes)
    return y, winner


def max_pool_backward(
    device: Device, dy: Any, winner: Any, image_size: tuple[int, int], window: Window
) -> Any:
    """Substitute for `xpcnn.ops.max_pool_backward`."""
    dy, winner = device.contiguous(dy, winner)
    dx = device.xp.empty((*dy.shape[:2], *image_size), dy.dtype)
    sizes = lengths(dx.shape, window)
    device.launch("max_pool_backward", dx.size, dy=dy, winner=winner, dx=dx, **sizes)
    return dx
