"""im2col and col2im, and a window's numbers as the kernels take them."""

from typing import Any

from xpcnn.geometry import Window
from xpcnn.kernels.cuda.launch import Device


def lengths(images: tuple[int, ...], window: Window) -> dict[str, int]:
    """Return what a kernel wants to know of images (N,C,H,W) and a window, by the names in the .cu files."""
    N, C, H, W = images
    (OH, OW), ((top, _), (left, _)) = window.output_size(H, W), window.pads(H, W)
    names = ("N", "C", "H", "W", "OH", "OW", "KH", "KW", "SH", "SW", "DH", "DW", "top", "left")
    numbers = N, C, H, W, OH, OW, *window.size, *window.stride, *window.dilation, top, left
    return dict(zip(names, numbers, strict=True))


def im2col(device: Device, x: Any, window: Window, fill: float = 0) -> Any:
    """Substitute for `xpcnn.ops.im2col`: a thread an element, no padded copy."""
    (x,) = device.contiguous(x)
    known = lengths(x.shape, window)
    cols = device.xp.empty((x.shape[1], *window.size, len(x), known["OH"], known["OW"]), x.dtype)
    device.launch("im2col", cols.size, x=x, cols=cols, fill=fill, **known)
    return cols


def col2im(device: Device, cols: Any, image_size: tuple[int, int], window: Window) -> Any:
    """Substitute for `xpcnn.ops.col2im`: a thread a pixel, in the textbook's order of addition."""
    (cols,) = device.contiguous(cols)
    x = device.xp.empty((cols.shape[3], cols.shape[0], *image_size), cols.dtype)
    device.launch("col2im", x.size, cols=cols, x=x, **lengths(x.shape, window))
    return x
