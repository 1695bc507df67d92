"""Max pooling: value and winner in one pass over the image, and one pass back."""

from typing import Any

import numpy as np

from xpcnn.geometry import Window
from xpcnn.kernels.cpu import threads
from xpcnn.kernels.cpu.compiled.compiler import compilable, compiled
from xpcnn.kernels.cpu.layout import as_images, rows_first
from xpcnn.kernels.cpu.plain.pooling import max_pool as pure_max_pool
from xpcnn.kernels.cpu.plain.pooling import max_pool_backward as pure_max_pool_backward


def max_pool(x: Any, window: Window) -> tuple[Any, Any]:
    """Substitute for `xpcnn.ops.max_pool`."""
    if not compilable(x):
        return pure_max_pool(x, window)
    (OH, OW), (N, C, H, W) = window.output_size(*x.shape[2:]), x.shape
    (top, _), (left, _) = window.borders(H, W)
    y = np.empty((OH, C, OW, N), x.dtype)
    winner = np.empty(y.shape, np.uint8 if window.size[0] * window.size[1] <= 256 else np.int32)
    rows, geometry = rows_first(x), (window.size, window.stride, window.dilation, (top, left))

    def some(start: int, stop: int) -> None:
        _max_pool(rows, y, winner, *geometry, start, stop)

    threads.in_parallel(some, OH, window.size[0] * window.size[1] * y.size)
    return as_images(y), as_images(winner)


@compiled
def _max_pool(
    x: Any, y: Any, winner: Any, size: Any, stride: Any, dilation: Any, before: Any, start: int, stop: int
) -> None:
    (H, C, W, N), (_, _, OW, _) = x.shape, y.shape
    (KH, KW), (SH, SW), (DH, DW), (top, left) = size, stride, dilation, before
    lowest, number = x.dtype.type(-np.inf), winner.dtype.type
    for oh in range(start, stop):
        for c in range(C):
            for ow in range(OW):
                best, place = y[oh, c, ow], winner[oh, c, ow]  # (N,), so are the pixels of a tap
                row, column = oh * SH - top, ow * SW - left
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
                            for n in range(N):  # arithmetic for a choice, which would not become vectors
                                value, other = best[n], pixels[n]
                                place[n] = max(place[n], number(number(other > value) * tap))
                                best[n] = max(value, other) if other == other else other


@compiled
def larger(value: float, place: int, other: float, tap: int) -> Any:
    """Return the larger number and where it is: the first of equals. A NaN is passed on, but wins no place."""
    keep = other <= value or value != value
    return value if keep else other, tap if other > value else place


def max_pool_backward(dy: Any, winner: Any, image_size: tuple[int, int], window: Window) -> Any:
    """Substitute for `xpcnn.ops.max_pool_backward`: windows that do not overlap are written, not added."""
    (H, W), (N, C, OH, OW) = image_size, dy.shape
    if not compilable(dy) or winner.shape != (N, C, *window.output_size(H, W)) or dy.shape != winner.shape:
        return pure_max_pool_backward(dy, winner, image_size, window)
    (top, _), (left, _) = window.borders(H, W)
    drows, places = rows_first(dy), rows_first(winner)
    (KH, KW), apart = window.size, window.stride == window.size == window.extent
    covered = apart and (top, left) == (0, 0) and (H, W) == (OH * KH, OW * KW)
    dx = (np.empty if covered else np.zeros)((H, C, W, N), dy.dtype)
    geometry = window.size, window.stride, window.dilation, (top, left)

    def some(start: int, stop: int) -> None:
        _max_pool_backward(drows, places, dx, *geometry, apart, start, stop)

    threads.in_parallel(some, C, KH * KW * dy.size)  # channels never meet, rows may
    return as_images(dx)


@compiled
def _max_pool_backward(
    dy: Any, winner: Any, dx: Any, size: Any, stride: Any, dilation: Any, before: Any, apart: bool,
    start: int, stop: int,
) -> None:  # fmt: skip
    (H, _, W, N), (OH, _, OW, _) = dx.shape, dy.shape
    (KH, KW), (SH, SW), (DH, DW), (top, left) = size, stride, dilation, before
    zero, one, number = dy.dtype.type(0), dy.dtype.type(1), winner.dtype.type
    for oh in range(OH):
        for c in range(start, stop):
            for ow in range(OW):
                gradients, places = dy[oh, c, ow], winner[oh, c, ow]  # (N,)
                for i in range(KH):
                    for j in range(KW):
                        h, w = oh * SH - top + i * DH, ow * SW - left + j * DW
                        if not (0 <= h < H and 0 <= w < W):
                            continue
                        pixels, tap = dx[h, c, w], number(i * KW + j)
                        if apart:
                            for n in range(N):
                                pixels[n] = gradients[n] * (one if places[n] == tap else zero)
                        else:
                            for n in range(N):
                                pixels[n] += gradients[n] * (one if places[n] == tap else zero)
