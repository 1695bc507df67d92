"""Rows, unrolled across for the taps of a window, in blocks that fit a thread's workspace.

In (H,C,W,N) the KH rows that a window spans are one piece of memory, so only its KW columns need copies.
"""

from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import as_strided

from xpcnn.geometry import Pair, Window
from xpcnn.kernels.cpu.layout import Array, matrices
from xpcnn.kernels.cpu.plain.fitting import budget, pieces
from xpcnn.kernels.cpu.workspace import workspace

Block = tuple[slice, slice]

WIDE_ENOUGH = 512
"""Columns from which a matrix product is no faster for having more."""


def blocks(rows: slice, OH: int, OW: int, x: Array, window: Window) -> Iterator[Block]:
    """Cut output rows and columns into blocks whose unrolled rows fit a thread's workspace.

    Of wide rows a piece is taken, as long as the products stay wide enough: then more rows fit, and fewer are
    unrolled twice, in the blocks above and below. `rows` are some of OH, which decides where columns are cut: all that
    BLAS's results may depend on is the same for any rows.
    """
    (KH, KW), SH, (_, C, _, N) = window.size, window.stride[0], x.shape
    most = budget()
    column = max(C * KW * N * x.itemsize, 1)  # bytes of one output column of one unrolled row

    def height(columns: int) -> int:
        fit = most // (column * columns)
        return 1 if window.dilation[0] > 1 else max(1, (fit - KH) // SH + 1)

    parts, wanted = 1, min(OH, 4 * KH)
    while parts < OW and height(-(-OW // parts)) < wanted:
        if -(-OW // (parts + 1)) * N < WIDE_ENOUGH and KH * column * -(-OW // parts) <= most:
            break
        parts += 1
    Q = -(-OW // parts)
    yield from product(pieces(rows, height(Q)), pieces(slice(0, OW), Q))


def windows(x: Array, window: Window, before: Pair, block: Block, groups: int) -> Array:
    """Return the columns of a block of windows: (H,C,W,N) -> (G, R, KH*C/G*KW, Q*N), R windows down, Q across.

    Only (G, rows, C/G, KW, Q, N) is copied; windows one below the other overlap in it. A window that is one
    pixel wide and stays inside the picture needs no copy at all.
    """
    (H, C, W, N), ((top, left), (rows, columns)) = x.shape, (before, block)
    (KH, KW), (SH, SW), DH = window.size, window.stride, window.dilation[0]
    R, Q = rows.stop - rows.start, columns.stop - columns.start
    step = 1 if KH == 1 else DH
    first, length = rows.start * SH - top, KH if step > 1 else (R - 1) * SH + KH
    within = first >= 0 and first + (length - 1) * step < H
    if KW == SW == groups == step == 1 and left == 0 and within and columns.stop <= W:
        return matrices(x, first, KH, SH, R, columns)[np.newaxis]
    copy = workspace((groups, length, C // groups, KW, Q, N), x.dtype)
    from_rows, to_rows = meet(first, step, length, H)
    for above_or_below in (slice(0, to_rows.start), slice(to_rows.stop, length)):
        if above_or_below.start < above_or_below.stop:
            copy[:, above_or_below] = 0
    _unroll(x[from_rows], window, left, columns, copy[:, to_rows])
    line = Q * N * x.itemsize
    row = C // groups * KW * line
    return as_strided(
        copy, (groups, R, KH * C // groups * KW, Q * N), (length * row, SH * row, line, x.itemsize)
    )


def _unroll(x: Array, window: Window, left: int, columns: slice, copy: Array) -> None:
    """Write the pixels that every tap across meets: rows (R,C,W,N) -> copy (G,R,C/G,KW,Q,N), zeros beyond the rows."""
    (groups, R, C, KW, Q, N), W = copy.shape, x.shape[2]
    x = x.reshape(R, groups, C, W, N).swapaxes(0, 1)  # (G,R,C/G,W,N)
    SW, DW = window.stride[1], window.dilation[1]
    taps = across(W, KW, SW, DW, columns.start * SW - left, Q)
    if not any(gaps for _, _, gaps in taps):
        pixel = N * x.itemsize
        x = x[..., taps[0][1].start :, :]
        copy[...] = as_strided(
            x, copy.shape, (*x.strides[:3], DW * pixel, SW * pixel, x.itemsize), writeable=False
        )
        return
    for j, (to, seen, gaps) in enumerate(taps):
        copy[:, :, :, j, to] = x[..., seen, :]
        for gap in gaps:
            copy[:, :, :, j, gap] = 0


@cache
def across(W: int, KW: int, SW: int, DW: int, first: int, Q: int) -> list[tuple[slice, slice, list[slice]]]:
    """Return for every tap across which of the Q windows it meets, at which pixels, and which windows it misses.

    Tap 0 of window 0 is at pixel `first` of W.
    """
    plan = []
    for j in range(KW):
        seen, to = meet(first + j * DW, SW, Q, W)
        gaps = [gap for gap in (slice(0, to.start), slice(to.stop, Q)) if gap.start < gap.stop]
        plan.append((to, seen, gaps))
    return plan


def meet(first: int, step: int, count: int, length: int) -> tuple[slice, slice]:
    """Of the places first, first + step, ..., `count` of them: which lie in range(length), and which of the count."""
    start = min(max(-(-(0 - first) // step), 0), count)
    stop = max(min(-(-(length - first) // step), count), start)
    low = first + start * step
    return slice(low, max(low + (stop - start - 1) * step + 1, low) if stop > start else low, step), slice(
        start, stop
    )
