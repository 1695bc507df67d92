"""Pooling in NumPy: the maximum on rows (H,C,W,N), a thread a range of them; the mean with sums in double precision.

padded row   | -inf |  x0  |  x1  |  x2  |  x3  | -inf |       a cell: N numbers of every channel
tap 0           ^             ^             ^                  windows 0, 1, 2 with stride 2: a strided view
tap 1                  ^             ^             ^           `winner` is the number of the first largest tap
"""

from typing import Any

import numpy as np

from xpcnn.geometry import Pair, Window
from xpcnn.kernels.cpu import threads
from xpcnn.kernels.cpu.layout import Array, as_images, rows_first
from xpcnn.kernels.registry import substitute


@substitute("plain")
def max_pool(x: Any, window: Window) -> tuple[Any, Any]:
    """Substitute for `xpcnn.ops.max_pool`."""
    (OH, OW), (N, C, H, W) = window.output_size(*x.shape[2:]), x.shape
    ((top, bottom), (left, right)) = window.borders(H, W)
    if not any((top, bottom, left, right)):
        padded = rows_first(x)
    else:
        padded = np.full((top + H + bottom, C, left + W + right, N), -np.inf, x.dtype)
        padded[top : top + H, :, left : left + W] = x.transpose(2, 1, 3, 0)
    y = np.empty((OH, C, OW, N), x.dtype)
    winner = np.zeros(y.shape, np.uint8 if window.size[0] * window.size[1] <= 256 else np.int32)
    taps = [(rows, columns) for _, (_, rows, columns) in window.taps(OH, OW)]

    def maximum_of_rows(start: int, stop: int) -> None:
        best, number = y[start:stop], winner[start:stop]
        for tap, (rows, columns) in enumerate(taps):
            pixels = padded[rows, :, columns][start:stop]
            if tap == 0:
                best[...] = pixels
                continue
            np.maximum(number, np.multiply(pixels > best, winner.dtype.type(tap)), out=number)
            np.maximum(best, pixels, out=best)

    threads.in_parallel(maximum_of_rows, OH, len(taps) * y.size)
    return as_images(y), as_images(winner)


@substitute("plain")
def max_pool_backward(dy: Any, winner: Any, image_size: tuple[int, int], window: Window) -> Any:
    """Substitute for `xpcnn.ops.max_pool_backward`: windows that do not overlap are written, not added."""
    dy, winner = dy.transpose(2, 1, 3, 0), rows_first(winner)  # (OH, C, OW, N)
    OH, C, OW, N = dy.shape
    (H, W), ((top, bottom), (left, right)) = image_size, window.borders(*image_size)
    (PH, PW), (EH, EW) = (top + H + bottom, left + W + right), window.extent
    disjoint = window.stride[0] >= EH and window.stride[1] >= EW
    all_written = window.stride == window.size == (EH, EW) and (PH, PW) == (OH * EH, OW * EW)
    padded = (np.empty if all_written else np.zeros)((PH, C, PW, N), dy.dtype)

    def distribute_rows(start: int, stop: int) -> None:
        d, number = dy[start:stop], winner[start:stop]
        for tap, (_, (_, rows, columns)) in enumerate(window.taps(OH, OW)):
            pixels = padded[rows, :, columns][start:stop]
            if disjoint:
                np.multiply(d, number == tap, out=pixels)
            else:
                pixels += d * (number == tap)

    if disjoint:
        threads.in_parallel(distribute_rows, OH, padded.size)
    else:  # neighbouring rows add to the same pixels
        distribute_rows(0, OH)
    return as_images(padded[top : top + H, :, left : left + W])


@substitute("plain")
def average_pool(x: Any, window: Window, count_include_pad: bool = False) -> Any:
    """Substitute for `xpcnn.ops.average_pool`: sums along the height, then along the width, in double precision."""
    (OH, OW), borders = window.output_size(*x.shape[2:]), window.borders(*x.shape[2:])
    padded = x if borders == ((0, 0), (0, 0)) else np.pad(x, ((0, 0), (0, 0), *borders))
    (KH, KW), (SH, SW), (DH, DW) = window.size, window.stride, window.dilation
    along_height, along_width = Window((KH, 1), (SH, 1), 0, (DH, 1)), Window((1, KW), (1, SW), 0, (1, DW))
    columns = _sum_of_taps(padded, along_height, (OH, padded.shape[3]))  # (N, C, OH, W + PW)
    total = _sum_of_taps(columns, along_width, (OH, OW))
    total /= _pixel_count(x.shape[2:], window, count_include_pad)
    return total.astype(x.dtype)


def _sum_of_taps(images: Array, window: Window, windows: Pair) -> Array:
    """Add up the pixels of each window in double precision: (N,C,H,W) -> (N,C,*windows)."""
    total = np.zeros_like(images, dtype=np.float64, shape=(*images.shape[:2], *windows))
    for _, pixels in window.taps(*windows):
        total += images[pixels]
    return total


def _pixel_count(image_size: Pair, window: Window, count_include_pad: bool) -> Array:
    """Return how many pixels the mean of each window is over, at least 1: (OH,OW)."""
    (top, bottom), (left, right) = window.borders(*image_size)
    counted = np.zeros((1, 1, top + image_size[0] + bottom, left + image_size[1] + right))
    (above, below), (before, behind) = window.pads(*image_size) if count_include_pad else ((0, 0), (0, 0))
    counted[..., top - above : top + image_size[0] + below, left - before : left + image_size[1] + behind] = 1
    windows = window.output_size(*image_size)
    count: Array = np.maximum(_sum_of_taps(counted, window, windows), 1)[0, 0]
    return count
