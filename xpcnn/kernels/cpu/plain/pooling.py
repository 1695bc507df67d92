"""Pooling on rows: the maximum, each thread its share of them; the mean, its sums in double precision."""

from typing import Any

import numpy as np

from xpcnn.geometry import Pair, Window
from xpcnn.kernels.cpu import threads
from xpcnn.kernels.cpu.layout import Array, as_images, rows_first


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
    number = winner.dtype.type
    taps = [(down, across) for _, (_, down, across) in window.taps(OH, OW)]

    def some(start: int, stop: int) -> None:
        best, place = y[start:stop], winner[start:stop]
        for tap, (down, across) in enumerate(taps):
            pixels = padded[down, :, across][start:stop]
            if tap == 0:
                best[...] = pixels
                continue
            np.maximum(place, np.multiply(pixels > best, number(tap)), out=place)
            np.maximum(best, pixels, out=best)

    threads.in_parallel(some, OH, len(taps) * y.size)
    return as_images(y), as_images(winner)


def max_pool_backward(dy: Any, winner: Any, image_size: tuple[int, int], window: Window) -> Any:
    """Substitute for `xpcnn.ops.max_pool_backward`: windows that do not overlap are written, not added."""
    dy, winner = dy.transpose(2, 1, 3, 0), rows_first(winner)
    OH, C, OW, N = dy.shape
    (H, W), ((top, bottom), (left, right)) = image_size, window.borders(*image_size)
    (PH, PW), (EH, EW) = (top + H + bottom, left + W + right), window.extent
    apart = window.stride[0] >= EH and window.stride[1] >= EW
    covered = window.stride == window.size == (EH, EW) and (PH, PW) == (OH * EH, OW * EW)
    padded = (np.empty if covered else np.zeros)((PH, C, PW, N), dy.dtype)

    def some(start: int, stop: int) -> None:
        d, place = dy[start:stop], winner[start:stop]
        for tap, (_, (_, down, across)) in enumerate(window.taps(OH, OW)):
            pixels = padded[down, :, across][start:stop]
            if apart:
                np.multiply(d, place == tap, out=pixels)
            else:
                pixels += d * (place == tap)

    if apart:
        threads.in_parallel(some, OH, padded.size)
    else:  # neighbouring rows add to the same pixels
        some(0, OH)
    return as_images(padded[top : top + H, :, left : left + W])


def average_pool(x: Any, window: Window, count_include_pad: bool = False) -> Any:
    """Substitute for `xpcnn.ops.average_pool`: sums down the image, then across it, in double precision."""
    (OH, OW), borders = window.output_size(*x.shape[2:]), window.borders(*x.shape[2:])
    padded = x if borders == ((0, 0), (0, 0)) else np.pad(x, ((0, 0), (0, 0), *borders))
    (KH, KW), (SH, SW), (DH, DW) = window.size, window.stride, window.dilation
    down, across = Window((KH, 1), (SH, 1), 0, (DH, 1)), Window((1, KW), (1, SW), 0, (1, DW))
    columns = _added(padded, down, (OH, padded.shape[3]))  # (N, C, OH, W + PW)
    total = _added(columns, across, (OH, OW))
    total /= _pixel_count(x.shape[2:], window, count_include_pad)
    return total.astype(x.dtype)


def _added(images: Array, window: Window, windows: Pair) -> Array:
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
    count: Array = np.maximum(_added(counted, window, window.output_size(*image_size)), 1)[0, 0]
    return count
