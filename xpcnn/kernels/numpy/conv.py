"""Convolution on rows: unroll across only, a block of rows at a time, and multiply while it is in the cache.

A window's KH rows meet their filters in one of two ways. *Gathered*, a product of (O, KH*C*KW) reads KH unrolled
rows and gives one output row. *Stacked*, a product of (KH*O, C*KW) reads one unrolled row and gives its share of KH
output rows: each row is read once, and the product has KH times the rows, which BLAS likes where O is small; but it
works only where rows follow rows (stride and dilation 1 down, one group), and the shares of y have to be added.

dx is a convolution of dy with the kernel turned by 180 degrees where the stride is 1 and that moves less than
adding columns back (col2im) does.
"""

from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from xpcnn.geometry import Pair, Window
from xpcnn.kernels.numpy import threads
from xpcnn.kernels.numpy.layout import Array, as_images, rows_first
from xpcnn.kernels.numpy.memory import workspace
from xpcnn.kernels.numpy.threads import in_parallel, share
from xpcnn.kernels.numpy.unrolling import blocks, budget, fitting, meet, pieces, runs, unroll, windows

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
    parts: dict[int, tuple[Array, Array]] = {}
    turn = window.stride == (1, 1) and O <= 2 * KH * C * groups
    if dx is not None and turn:
        kernel, dense, before = turned(weight, window, (top, left), groups)
        kernel = filters_of_rows(kernel, groups)
    elif dx is not None:
        filters = filters_of_rows(weight, groups)

    def some(start: int, stop: int) -> None:
        of_dy = share(len(drows), start, stop)
        parts[start] = _weight_gradient(drows, rows, window, (top, left), groups, of_dy)
        if dx is None:
            return
        if turn:
            _correlate(drows, kernel, None, dense, before, dx, share(len(dx), start, stop))
        else:
            scatter(drows, filters, window, (top, left), dx, share(C, start, stop))

    in_parallel(some, threads.count(), products=2 * dy.size * weight[0].size)
    dfilters, dbias = added(parts)
    dweight = dfilters.reshape(groups, KH, C, KW, O // groups).transpose(0, 4, 2, 1, 3).reshape(weight.shape)
    return None if dx is None else as_images(dx), dweight, dbias


def turned(weight: Array, window: Window, before: Pair, groups: int) -> tuple[Array, Window, Pair]:
    """Return the kernel, window and padding by which dx is a convolution of dy, where the stride is 1.

    The kernel is turned by 180 degrees, and its filters and channels change places: (O,C/G,KH,KW) -> (C,O/G,KH,KW).
    """
    O, C, KH, KW = weight.shape
    kernel = weight[:, :, ::-1, ::-1].reshape(groups, O // groups, C, KH, KW).swapaxes(1, 2)
    kernel = kernel.reshape(groups * C, O // groups, KH, KW)
    top, left = (extent - 1 - begin for extent, begin in zip(window.extent, before, strict=True))
    return kernel, Window(window.size, 1, 0, window.dilation), (top, left)


def added(parts: dict[int, tuple[Array, Array]]) -> tuple[Array, Array]:
    """Add up the weight and bias gradients of all shares, always in the same order: to the bit the same sum."""
    (dweight, dbias), *others = (parts[start] for start in sorted(parts))
    for other, another in others:
        dweight, dbias = dweight + other, dbias + another
    return dweight, dbias


def filters_of_rows(weight: Array, groups: int) -> Array:
    """Lay filters out for rows: (O,C/G,KH,KW) -> (G, O/G, KH, C/G*KW)."""
    O, C, KH, KW = weight.shape
    return weight.swapaxes(1, 2).reshape(groups, O // groups, KH, C * KW)


def _stackable(window: Window, groups: int) -> bool:
    return window.stride[0] == window.dilation[0] == groups == 1 < window.size[0]


def _correlate(
    x: Array, filters: Array, bias: Array | None, window: Window, before: Pair, y: Array, part: slice
) -> None:
    """Slide filters over rows (H,C,W,N) that begin `before` = (top, left) pixels late, and write a share of y's."""
    (groups, width, KH, L), (top, left), (_, O, OW, N) = filters.shape, before, y.shape
    if _stackable(window, groups) and width <= FEW and L >= 2 * FEW:
        y[part] = 0 if bias is None else bias.reshape(O, 1, 1)
        stacked = filters[0].swapaxes(0, 1)  # (KH, O, C*KW)
        column = (L + KH * O) * N * x.itemsize
        few = part.stop - part.start <= 2 * KH  # then all taps of every row are one product, some for nothing
        for rows, taps, columns in runs(part, len(x), top, KH, OW, column, apart=not few):
            R, Q = rows.stop - rows.start, columns.stop - columns.start
            count, C, KW = taps.stop - taps.start, x.shape[1], window.size[1]
            met = count * O
            room = workspace((R * (L + met) * Q * N,), x.dtype)
            unrolled, shares = room[: R * L * Q * N], room[R * L * Q * N :].reshape(R, count, O, Q, N)
            unroll(x[rows], window, left, columns, unrolled.reshape(1, R, C, KW, Q, N))
            filters_met = stacked[taps].reshape(met, L)
            np.matmul(filters_met, unrolled.reshape(R, L, Q * N), out=shares.reshape(R, met, Q * N))
            for number, i in enumerate(range(taps.start, taps.stop)):
                first, last = max(part.start, rows.start + top - i), min(part.stop, rows.stop + top - i)
                if first < last:
                    target, skip = y[first:last, :, columns], first - (rows.start + top - i)
                    target += shares[skip : skip + last - first, number]
        return
    flat = filters.reshape(groups, 1, width, KH * L)
    for rows, columns in blocks(part, OW, x, window):
        unrolled = windows(x, window, before, (rows, columns), groups)  # (G, R, K, Q*N)
        piece = _grouped(y[rows, :, columns], groups)  # (R, G, O/G, Q*N)
        np.matmul(flat, unrolled, out=piece.swapaxes(0, 1))
        if bias is not None:
            piece += bias.reshape(groups, width, 1)


def _weight_gradient(
    dy: Array, x: Array, window: Window, before: Pair, groups: int, part: slice
) -> tuple[Array, Array]:
    """Return dW as (G, KH*C/G*KW, O/G), and db, of a share of the rows of dy."""
    (_, O, OW, N), (KH, KW), (top, left) = dy.shape, window.size, before
    L, width = x.shape[1] // groups * KW, O // groups
    dbias = (dy[part].reshape(part.stop - part.start, O, OW * N) @ np.ones(OW * N, dy.dtype)).sum(axis=0)
    if _stackable(window, groups) and min(L, KH * O) > min(KH * L, O) and part.stop - part.start > KH:
        stacked = np.zeros((KH, O, L), dy.dtype)
        line = OW * N * dy.itemsize
        for rows, taps, columns in runs(part, len(x), top, KH, OW, L * N * x.itemsize):
            R, Q = rows.stop - rows.start, columns.stop - columns.start
            unrolled = workspace((1, R, x.shape[1], KW, Q, N), x.dtype)
            unroll(x[rows], window, left, columns, unrolled)
            first = dy[rows.start + top - (taps.stop - 1) :, :, columns]  # the tap furthest down meets it
            met = (taps.stop - taps.start) * O
            d = as_strided(first, (R, met, Q * N), (O * line, line, dy.itemsize), writeable=False)
            unrolled = unrolled.reshape(R, L, Q * N)
            products = _sum_of_products(unrolled, d.swapaxes(1, 2))  # (C*KW, taps*O), the last tap first
            stacked[taps] += products.T.reshape(-1, O, L)[::-1]
        return stacked.transpose(0, 2, 1).reshape(1, KH * L, O), dbias
    dfilters = np.zeros((groups, KH * L, width), dy.dtype)
    for rows, columns in blocks(part, OW, x, window):
        unrolled = windows(x, window, before, (rows, columns), groups)  # (G, R, K, Q*N)
        d = _grouped(dy[rows, :, columns], groups).swapaxes(0, 1)  # (G, R, O/G, Q*N)
        dfilters += _sum_of_products(unrolled, d.swapaxes(2, 3))
    return dfilters, dbias


def _sum_of_products(a: Array, b: Array) -> Any:
    """Return the sum of A @ B over the axis of rows, the third from behind, as many products at a time as fit."""
    *groups, R, M, _ = a.shape
    together = max(1, budget() // (prod(groups) * M * b.shape[-1] * a.itemsize))
    total: Any = 0
    for r in range(0, R, together):
        some_rows = slice(r, r + together)
        total = total + (a[..., some_rows, :, :] @ b[..., some_rows, :, :]).sum(axis=-3)
    return total


def scatter(dy: Array, filters: Array, window: Window, before: Pair, dx: Array, part: slice) -> None:
    """Multiply back to columns and add them onto the pixels they came from, in a share of each group's channels."""
    (H, C, W, N), (OH, O, OW, _), groups = dx.shape, dy.shape, len(filters)
    (KH, KW), (SH, SW), (DH, DW), (top, left) = window.size, window.stride, window.dilation, before
    c = part.stop - part.start
    dx = dx.reshape(H, groups, C // groups, W, N)[:, :, part]
    dx[...] = 0
    transposed = filters.reshape(groups, O // groups, KH, C // groups, KW)[:, :, :, part]
    transposed = transposed.reshape(groups, 1, O // groups, KH * c * KW).swapaxes(2, 3)  # (G, 1, K, O/G)
    R, Q = fitting(OH, OW, groups * KH * c * KW * N * dx.itemsize)
    for rows, columns in product(pieces(slice(0, OH), R), pieces(slice(0, OW), Q)):
        R, Q = rows.stop - rows.start, columns.stop - columns.start
        d = _grouped(dy[rows, :, columns], groups).swapaxes(0, 1)  # (G, R, O/G, Q*N)
        taps = (transposed @ d).reshape(groups, R, KH, c, KW, Q, N)
        for i in range(KH):
            to_rows, from_rows = meet(rows.start * SH + i * DH - top, SH, R, H)
            for j in range(KW):
                to_columns, from_columns = meet(columns.start * SW + j * DW - left, SW, Q, W)
                target = dx[to_rows, :, :, to_columns]  # (r, G, c, q, N)
                target += taps[:, from_rows, i, :, j, from_columns].swapaxes(0, 1)


def _grouped(block: Array, groups: int) -> Array:
    """View a block of an output by groups: (R,O,Q,N) -> (R,G,O/G,Q*N)."""
    R, O, Q, N = block.shape
    return block.reshape(R, groups, O // groups, Q * N)
