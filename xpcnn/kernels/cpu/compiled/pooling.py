"""Max pooling by Numba: maximum and winner in one pass over the image, and one pass back.

    x (H,C,W,N)    row h, channel c   | w=0 | w=1 | w=2 | w=3 |    a cell: N numbers, the innermost loop
    y              row p, channel c   |    q=0    |    q=1    |    each window: the larger of its taps, number by number

Forward, a thread writes a range of rows of y. Backward, windows of neighbouring rows may add to the same pixels but
channels never do, so a thread writes a range of channels of dx.
"""

from functools import partial
from typing import Any

import numpy as np

from xpcnn.geometry import Window
from xpcnn.kernels.cpu import threads
from xpcnn.kernels.cpu.compiled.compiler import compilable, compiled
from xpcnn.kernels.cpu.layout import as_images, rows_first
from xpcnn.kernels.cpu.plain.pooling import max_pool as plain_max_pool
from xpcnn.kernels.cpu.plain.pooling import max_pool_backward as plain_max_pool_backward
from xpcnn.kernels.registry import substitute


@substitute("compiled")
def max_pool(x: Any, window: Window) -> tuple[Any, Any]:
    """Substitute for `xpcnn.ops.max_pool`."""
    if not compilable(x):
        return plain_max_pool(x, window)
    (OH, OW), (N, C, H, W) = window.output_size(*x.shape[2:]), x.shape
    (top, _), (left, _) = window.borders(H, W)
    y = np.empty((OH, C, OW, N), x.dtype)
    winner = np.empty(y.shape, np.uint8 if window.size[0] * window.size[1] <= 256 else np.int32)
    geometry = window.size, window.stride, window.dilation, (top, left)
    work = window.size[0] * window.size[1] * y.size
    threads.in_parallel(partial(_max_pool, rows_first(x), y, winner, *geometry), OH, work)
    return as_images(y), as_images(winner)


@compiled
def _max_pool(
    x: Any, y: Any, winner: Any, size: Any, stride: Any, dilation: Any, pad: Any, start: int, stop: int
) -> None:
    """Write output rows from `start` to `stop`; `pad` is (top, left)."""
    for oh in range(start, stop):
        for c in range(x.shape[1]):
            row, left = oh * stride[0] - pad[0], pad[1]
            _largest_of_windows(x, c, row, left, y[oh, c], winner[oh, c], size, stride, dilation)


@compiled
def _largest_of_windows(
    x: Any, c: int, row: int, left: int, y: Any, winner: Any, size: Any, stride: Any, dilation: Any
) -> None:
    """Write maximum and winner, (OW,N) each, of the windows of channel c that begin at row `row` of the image."""
    (H, _, W, N), (KH, KW), (DH, DW) = x.shape, size, dilation
    lowest, number = x.dtype.type(-np.inf), winner.dtype.type
    for ow in range(len(y)):
        best, place, column = y[ow], winner[ow], ow * stride[1] - left
        inside = row >= 0 and column >= 0 and row + DH < H and column + DW < W
        if KH == 2 and KW == 2 and inside:
            x0, x1 = x[row, c, column], x[row, c, column + DW]
            x2, x3 = x[row + DH, c, column], x[row + DH, c, column + DW]
            for n in range(N):
                value, tap = larger(x0[n], number(0), x1[n], number(1))
                value, tap = larger(value, tap, x2[n], number(2))
                best[n], place[n] = larger(value, tap, x3[n], number(3))
            continue
        best[:], place[:] = lowest, 0
        for i in range(KH):
            for j in range(KW):
                h, w = row + i * DH, column + j * DW
                if 0 <= h < H and 0 <= w < W:
                    pixels, tap = x[h, c, w], number(i * KW + j)
                    for n in range(N):  # arithmetic instead of branches, which would not become vectors
                        value, other = best[n], pixels[n]
                        place[n] = max(place[n], number(number(other > value) * tap))
                        best[n] = max(value, other) if other == other else other


@compiled
def larger(value: float, number: int, other: float, tap: int) -> Any:
    """Return the larger value and its tap's number: the first of equals. A NaN is passed on, but is no winner."""
    keep = other <= value or value != value
    return value if keep else other, tap if other > value else number


@substitute("compiled")
def max_pool_backward(dy: Any, winner: Any, image_size: tuple[int, int], window: Window) -> Any:
    """Substitute for `xpcnn.ops.max_pool_backward`: windows that do not overlap are written, not added."""
    (H, W), (N, C, OH, OW) = image_size, dy.shape
    if not compilable(dy) or winner.shape != (N, C, *window.output_size(H, W)) or dy.shape != winner.shape:
        return plain_max_pool_backward(dy, winner, image_size, window)
    (top, _), (left, _) = window.borders(H, W)
    (KH, KW), disjoint = window.size, window.stride == window.size == window.extent
    all_written = disjoint and (top, left) == (0, 0) and (H, W) == (OH * KH, OW * KW)
    dx = (np.empty if all_written else np.zeros)((H, C, W, N), dy.dtype)
    arrays = rows_first(dy), rows_first(winner), dx
    geometry = window.size, window.stride, window.dilation, (top, left)
    threads.in_parallel(partial(_max_pool_backward, *arrays, *geometry, disjoint), C, KH * KW * dy.size)
    return as_images(dx)


@compiled
def _max_pool_backward(
    dy: Any, winner: Any, dx: Any, size: Any, stride: Any, dilation: Any, pad: Any, disjoint: bool,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Write the channels of dx from `start` to `stop`."""
    for oh in range(len(dy)):
        for c in range(start, stop):
            row, left = oh * stride[0] - pad[0], pad[1]
            _distribute(dy[oh, c], winner[oh, c], dx, c, row, left, size, stride, dilation, disjoint)


@compiled
def _distribute(
    dy: Any, winner: Any, dx: Any, c: int, row: int, left: int, size: Any, stride: Any, dilation: Any, disjoint: bool
) -> None:  # fmt: skip
    """Give the gradients (OW,N) of windows that begin at row `row`, each to the pixel of the tap that won."""
    (H, _, W, N), (KH, KW), (DH, DW) = dx.shape, size, dilation
    zero, one, number = dy.dtype.type(0), dy.dtype.type(1), winner.dtype.type
    for ow in range(len(dy)):
        gradients, places, column = dy[ow], winner[ow], ow * stride[1] - left
        for i in range(KH):
            for j in range(KW):
                h, w = row + i * DH, column + j * DW
                if not (0 <= h < H and 0 <= w < W):
                    continue
                pixels, tap = dx[h, c, w], number(i * KW + j)
                if disjoint:
                    for n in range(N):
                        pixels[n] = gradients[n] * (one if places[n] == tap else zero)
                else:
                    for n in range(N):
                        pixels[n] += gradients[n] * (one if places[n] == tap else zero)
