"""col2im: a thread a pixel."""

from typing import Any

from xpcnn.geometry import Window
from xpcnn.kernels.cuda.geometry import lengths
from xpcnn.kernels.cuda.launch import Device


def col2im(device: Device, cols: Any, image_size: tuple[int, int], window: Window) -> Any:
    """Substitute for `xpcnn.ops.col2im`, with its order of addition."""
    (cols,) = device.contiguous(cols)
    x = device.xp.empty((cols.shape[3], cols.shape[0], *image_size), cols.dtype)
    device.launch("col2im", x.size, cols=cols, x=x, **lengths(x.shape, window))
    return x
