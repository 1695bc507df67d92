"""The memory order of these kernels: (C,H,W,N), planes whose pixels hold the whole batch side by side."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from xpcnn.geometry import Padding, Window

Array = np.ndarray[Any, Any]


def batch_last(images: Array) -> Array:
    """Return images (N,C,H,W) as contiguous (C,H,W,N): a view if that is how they lie, else a copy."""
    return np.ascontiguousarray(images.transpose(1, 2, 3, 0))


def batch_first(planes: Array) -> Array:
    """Return (C,H,W,N) as a view of shape (N,C,H,W)."""
    return planes.transpose(3, 0, 1, 2)


def surround(planes: Array, borders: Padding) -> Array:
    """Return planes with a border of zeros: (C,H,W,N) -> (C,top+H+bottom,left+W+right,N)."""
    (top, bottom), (left, right) = borders
    if not any((top, bottom, left, right)):
        return planes
    C, H, W, N = planes.shape
    padded = np.empty((C, top + H + bottom, left + W + right, N), planes.dtype)
    padded[:, :top] = padded[:, top + H :] = 0
    padded[:, top : top + H, :left] = padded[:, top : top + H, left + W :] = 0
    padded[:, top : top + H, left : left + W] = planes
    return padded


def windows(padded: Array, window: Window, out_height: int, out_width: int) -> Array:
    """Return the receptive fields as a view: (C,PH,PW,N) -> (C,KH,KW,OH,OW,N), nothing copied."""
    plane, row, pixel, item = padded.strides
    (SH, SW), (DH, DW) = window.stride, window.dilation
    return as_strided(
        padded,
        (len(padded), *window.size, out_height, out_width, padded.shape[3]),
        (plane, DH * row, DW * pixel, SH * row, SW * pixel, item),
        writeable=False,
    )
