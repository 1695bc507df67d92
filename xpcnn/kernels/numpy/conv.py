"""Convolution on rows: unroll across only, a block of rows at a time, and multiply while it is in the cache.

A window's KH rows meet their filters in one of two ways. *Gathered*, a product of (O, KH*C*KW) reads KH unrolled
rows and gives one output row. *Stacked*, a product of (KH*O, C*KW) reads one unrolled row and gives its share of KH
output rows: each row is read once, and the product has KH times the rows, which BLAS likes where O is small; but it
works only where rows follow rows (stride and dilation 1 down, one group), and the shares of y have to be added.

dx is a convolution of dy with the kernel turned by 180 degrees where the stride is 1 and that moves less than
adding columns back (col2im) does.
"""

from collections.abc import Iterator
from functools import cache
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from xpcnn.geometry import Pair, Window
from xpcnn.kernels.numpy import threads
from xpcnn.kernels.numpy.layout import Array, as_images, rows_first
from xpcnn.kernels.numpy.memory import workspace, workspace_bytes
from xpcnn.kernels.numpy.threads import in_parallel

Block = tuple[slice, slice]

WIDE_ENOUGH = 512
"""Columns from which a matrix product is no faster for having more."""

FEW = 16
"""Rows up to which a matrix product is so slow that stacking KH times as many, and adding, is faster."""


def conv(x: Any, weight: Any, bias: Any, window: Window, groups: int = 1) -> Any:
    """Substitute for `xpcnn.ops.conv`."""
    (top, _), (left, _) = window.pads(*x.shape[2:])
    rows, filters, (OH, OW) = rows_first(x), filters_of_rows(weight, groups), window.output_size(*x.shape[2:])
    y = np.empty((OH, len(weight), OW, len(x)), x.dtype)

    def some(start: int, stop: int) -> None:
        _correlate(rows, filters, bias, window, (top, left), y, slice(start, stop))

    in_parallel(some, OH, products=y.size * weight[0].size)
    return as_images(y)


def conv_backward(
    dy: Any, x: Any, weight: Any, window: Window, groups: int = 1, need_dx: bool = True
) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.conv_backward`."""
    (top, _), (left, _) = window.pads(*x.shape[2:])
    rows, drows, (O, C, KH, KW) = rows_first(x), rows_first(dy), weight.shape  # C of a group
    dx = np.empty(rows.shape, dy.dtype) if need_dx else None
    turn = window.stride == (1, 1) and O <= 2 * KH * C * groups
    if turn:
        turned = weight[:, :, ::-1, ::-1].reshape(groups, O // groups, C, KH, KW).swapaxes(1, 2)
        turned = filters_of_rows(turned.reshape(groups * C, O // groups, KH, KW), groups)
        before = window.extent[0] - 1 - top, window.extent[1] - 1 - left
        dense = Window(window.size, 1, 0, window.dilation)
    else:
        filters = filters_of_rows(weight, groups)
    shares = threads.count()
    parts: dict[int, tuple[Array, Array]] = {}

    def some(start: int, stop: int) -> None:
        parts[start] = _weight_gradient(
            drows, rows, window, (top, left), groups, _share(len(drows), start, stop)
        )
        if dx is None:
            return
        if turn:
            _correlate(drows, turned, None, dense, before, dx, _share(len(dx), start, stop))
        else:
            scatter(drows, filters, window, (top, left), dx, _share(C, start, stop))

    def _share(length: int, start: int, stop: int) -> slice:
        return slice(length * start // shares, length * stop // shares)

    in_parallel(some, shares, products=2 * dy.size * weight[0].size)
    (dfilters, dbias), *others = (parts[start] for start in sorted(parts))  # in one order: one sum
    for other, another in others:
        dfilters, dbias = dfilters + other, dbias + another
    dweight = dfilters.reshape(groups, KH, C, KW, O // groups).transpose(0, 4, 2, 1, 3).reshape(weight.shape)
    return None if dx is None else as_images(dx), dweight, dbias


def filters_of_rows(weight: Array, groups: int) -> Array:
    """Lay filters out for rows: (O,C/G,KH,KW) -> (G, O/G, KH, C/G*KW)."""
    O, C, KH, KW = weight.shape
    return weight.swapaxes(1, 2).reshape(groups, O // groups, KH, C * KW)


def _stackable(window: Window, groups: int) -> bool:
    return window.stride[0] == window.dilation[0] == groups == 1 < window.size[0]


def _correlate(
    x: Array, filters: Array, bias: Array | None, window: Window, before: Pair, y: Array, share: slice
) -> None:
    """Slide filters over rows (H,C,W,N) that begin `before` = (top, left) pixels late, and write a share of y's."""
    (groups, width, KH, L), (top, left), (_, O, OW, N) = filters.shape, before, y.shape
    if _stackable(window, groups) and width <= FEW and L >= 2 * FEW:
        y[share] = 0 if bias is None else bias.reshape(O, 1, 1)
        stacked = filters[0].swapaxes(0, 1)  # (KH, O, C*KW)
        column = (L + KH * O) * N * x.itemsize
        few = (
            share.stop - share.start <= 2 * KH
        )  # then all taps of every row, and some for nothing, are one product
        for rows, taps, columns in _runs(share, len(x), top, KH, OW, column, apart=not few):
            R, Q = rows.stop - rows.start, columns.stop - columns.start
            met = (taps.stop - taps.start) * O
            room = workspace((R * (L + met) * Q * N,), x.dtype)
            unrolled, shares = room[: R * L * Q * N], room[R * L * Q * N :].reshape(R, -1, O, Q, N)
            _unroll(x[rows], window, left, columns, unrolled.reshape(1, R, x.shape[1], -1, Q, N))
            filters_met = stacked[taps].reshape(met, L)
            np.matmul(filters_met, unrolled.reshape(R, L, Q * N), out=shares.reshape(R, met, Q * N))
            for number, i in enumerate(range(taps.start, taps.stop)):
                first, last = max(share.start, rows.start + top - i), min(share.stop, rows.stop + top - i)
                if first < last:
                    target, skip = y[first:last, :, columns], first - (rows.start + top - i)
                    target += shares[skip : skip + last - first, number]
        return
    flat = filters.reshape(groups, 1, width, KH * L)
    for rows, columns in _blocks(share, OW, x, window):
        unrolled = _windows(x, window, before, (rows, columns), groups)  # (G, R, K, Q*N)
        piece = _grouped(y[rows, :, columns], groups)  # (R, G, O/G, Q*N)
        np.matmul(flat, unrolled, out=piece.swapaxes(0, 1))
        if bias is not None:
            piece += bias.reshape(groups, width, 1)


def _weight_gradient(
    dy: Array, x: Array, window: Window, before: Pair, groups: int, share: slice
) -> tuple[Array, Array]:
    """Return dW as (G, KH*C/G*KW, O/G), and db, of a share of the rows of dy."""
    (_, O, OW, N), (KH, KW), (top, left) = dy.shape, window.size, before
    L, width = x.shape[1] // groups * KW, O // groups
    dbias = (dy[share].reshape(share.stop - share.start, O, OW * N) @ np.ones(OW * N, dy.dtype)).sum(axis=0)
    if _stackable(window, groups) and min(L, KH * O) > min(KH * L, O) and share.stop - share.start > KH:
        stacked = np.zeros((KH, O, L), dy.dtype)
        line = OW * N * dy.itemsize
        for rows, taps, columns in _runs(share, len(x), top, KH, OW, L * N * x.itemsize):
            R, Q = rows.stop - rows.start, columns.stop - columns.start
            unrolled = workspace((1, R, x.shape[1], KW, Q, N), x.dtype)
            _unroll(x[rows], window, left, columns, unrolled)
            first = dy[rows.start + top - (taps.stop - 1) :, :, columns]  # the tap furthest down meets it
            met = (taps.stop - taps.start) * O
            d = as_strided(first, (R, met, Q * N), (O * line, line, dy.itemsize), writeable=False)
            unrolled = unrolled.reshape(R, L, Q * N)
            products = _sum_of_products(unrolled, d.swapaxes(1, 2))  # (C*KW, taps*O), the last tap first
            stacked[taps] += products.T.reshape(-1, O, L)[::-1]
        return stacked.transpose(0, 2, 1).reshape(1, KH * L, O), dbias
    dfilters = np.zeros((groups, KH * L, width), dy.dtype)
    for rows, columns in _blocks(share, OW, x, window):
        unrolled = _windows(x, window, before, (rows, columns), groups)  # (G, R, K, Q*N)
        d = _grouped(dy[rows, :, columns], groups).swapaxes(0, 1)  # (G, R, O/G, Q*N)
        dfilters += _sum_of_products(unrolled, d.swapaxes(2, 3))
    return dfilters, dbias


def _sum_of_products(a: Array, b: Array) -> Any:
    """Return the sum of A @ B over the axis of rows, the third from behind, as many products at a time as fit."""
    *groups, R, M, _ = a.shape
    together = max(1, _budget() // (prod(groups) * M * b.shape[-1] * a.itemsize))
    total: Any = 0
    for r in range(0, R, together):
        some_rows = slice(r, r + together)
        total = total + (a[..., some_rows, :, :] @ b[..., some_rows, :, :]).sum(axis=-3)
    return total


def scatter(dy: Array, filters: Array, window: Window, before: Pair, dx: Array, share: slice) -> None:
    """Multiply back to columns and add them onto the pixels they came from, in a share of each group's channels."""
    (H, C, W, N), (OH, O, OW, _), groups = dx.shape, dy.shape, len(filters)
    (KH, KW), (SH, SW), (DH, DW), (top, left) = window.size, window.stride, window.dilation, before
    c = share.stop - share.start
    dx = dx.reshape(H, groups, C // groups, W, N)[:, :, share]
    dx[...] = 0
    transposed = filters.reshape(groups, O // groups, KH, C // groups, KW)[:, :, :, share]
    transposed = transposed.reshape(groups, 1, O // groups, KH * c * KW).swapaxes(2, 3)  # (G, 1, K, O/G)
    R, Q = _fitting(OH, OW, groups * KH * c * KW * N * dx.itemsize)
    for rows, columns in product(_pieces(slice(0, OH), R), _pieces(slice(0, OW), Q)):
        R, Q = rows.stop - rows.start, columns.stop - columns.start
        d = _grouped(dy[rows, :, columns], groups).swapaxes(0, 1)  # (G, R, O/G, Q*N)
        taps = (transposed @ d).reshape(groups, R, KH, c, KW, Q, N)
        for i in range(KH):
            to_rows, from_rows = _meet(rows.start * SH + i * DH - top, SH, R, H)
            for j in range(KW):
                to_columns, from_columns = _meet(columns.start * SW + j * DW - left, SW, Q, W)
                target = dx[to_rows, :, :, to_columns]  # (r, G, c, q, N)
                target += taps[:, from_rows, i, :, j, from_columns].swapaxes(0, 1)


def _grouped(block: Array, groups: int) -> Array:
    """View a block of an output by groups: (R,O,Q,N) -> (R,G,O/G,Q*N)."""
    R, O, Q, N = block.shape
    return block.reshape(R, groups, O // groups, Q * N)


def _blocks(rows: slice, OW: int, x: Array, window: Window) -> Iterator[Block]:
    """Cut output rows and columns into blocks whose unrolled rows fit a thread's workspace.

    Of wide rows a piece is taken, as long as the products stay wide enough: then more rows fit, and fewer are
    unrolled twice, in the blocks above and below.
    """
    (KH, KW), SH, (_, C, _, N) = window.size, window.stride[0], x.shape
    budget = _budget()
    column = max(C * KW * N * x.itemsize, 1)  # bytes of one output column of one unrolled row

    def height(columns: int) -> int:
        fit = budget // (column * columns)
        return 1 if window.dilation[0] > 1 else max(1, (fit - KH) // SH + 1)

    pieces, wanted = 1, min(rows.stop - rows.start, 4 * KH)
    while pieces < OW and height(-(-OW // pieces)) < wanted:
        if -(-OW // (pieces + 1)) * N < WIDE_ENOUGH and KH * column * -(-OW // pieces) <= budget:
            break
        pieces += 1
    Q = -(-OW // pieces)
    yield from product(_pieces(rows, height(Q)), _pieces(slice(0, OW), Q))


def _runs(
    share: slice, H: int, top: int, KH: int, OW: int, column: int, apart: bool = True
) -> Iterator[tuple[slice, slice, slice]]:
    """Cut the rows of x that a share of the output rows sees into blocks that fit: (rows, taps, output columns).

    Tap i of output row p sees row r = p + i - top. If `apart`, all rows of a block meet the same taps; else a block
    has all taps, though some of its rows meet none of the share by them. `column` counts the bytes of one row and
    one output column.
    """
    R, Q = _fitting(H, OW, column)
    row, end = max(0, share.start - top), min(H, share.stop + KH - 1 - top)
    while row < end:
        first, last = max(0, row + top - share.stop + 1), min(KH - 1, row + top - share.start)
        together = min(R, end - row)
        if not apart:
            first, last = 0, KH - 1
        elif (first, last) != (0, KH - 1):
            together = 1
        else:  # and so on, until a row is seen past the end of the share
            together = min(together, max(1, share.stop - top - row))
        for columns in _pieces(slice(0, OW), Q):
            yield slice(row, row + together), slice(first, last + 1), columns
        row += together


def _fitting(rows: int, columns: int, size: int) -> Pair:
    """Return how many rows and columns of `size` bytes a thread may hold: whole rows if it can, at least one number."""
    budget, size = _budget(), max(size, 1)
    Q = -(-columns // min(-(-columns * size // budget), columns))
    return min(rows, max(1, budget // (size * Q))), Q


def _pieces(whole: slice, length: int) -> list[slice]:
    """Cut a slice into slices of some length."""
    return [slice(i, min(i + length, whole.stop)) for i in range(whole.start, whole.stop, length)]


def _budget() -> int:
    """Return the bytes that one thread may unroll at a time."""
    return max(workspace_bytes() // threads.count(), 1)


def _windows(x: Array, window: Window, before: Pair, block: Block, groups: int) -> Array:
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
        source = x[first:, :, columns.start :]
        line = W * N * x.itemsize  # not x.strides: NumPy gives an axis of length 1 any stride
        return as_strided(
            source, (1, R, KH * C, Q * N), (0, SH * C * line, line, x.itemsize), writeable=False
        )
    copy = workspace((groups, length, C // groups, KW, Q, N), x.dtype)
    from_rows, to_rows = _meet(first, step, length, H)
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
    across = _across(W, KW, SW, DW, columns.start * SW - left, Q)
    if not any(gaps for _, _, gaps in across):
        pixel = N * x.itemsize
        x = x[..., across[0][1].start :, :]
        copy[...] = as_strided(
            x, copy.shape, (*x.strides[:3], DW * pixel, SW * pixel, x.itemsize), writeable=False
        )
        return
    for j, (to, seen, gaps) in enumerate(across):
        copy[:, :, :, j, to] = x[..., seen, :]
        for gap in gaps:
            copy[:, :, :, j, gap] = 0


@cache
def _across(W: int, KW: int, SW: int, DW: int, first: int, Q: int) -> list[tuple[slice, slice, list[slice]]]:
    """For every tap across: which of the Q windows it meets, at which pixels, and which windows it misses."""
    plan = []
    for j in range(KW):
        seen, to = _meet(first + j * DW, SW, Q, W)
        gaps = [gap for gap in (slice(0, to.start), slice(to.stop, Q)) if gap.start < gap.stop]
        plan.append((to, seen, gaps))
    return plan


def _meet(first: int, step: int, count: int, length: int) -> tuple[slice, slice]:
    """Of the places first, first + step, ..., `count` of them: which lie in range(length), and which of the count."""
    start = min(max(-(-(0 - first) // step), 0), count)
    stop = max(min(-(-(length - first) // step), count), start)
    low = first + start * step
    return slice(low, max(low + (stop - start - 1) * step + 1, low) if stop > start else low, step), slice(
        start, stop
    )
