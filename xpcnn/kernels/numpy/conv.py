"""Convolution on rows: unroll across only, a block of rows at a time, and multiply while it is in the cache.

The filters are laid out as (G, O/G, KH*C/G*KW), kernel rows outermost, as the rows of the picture are. dx is
a convolution of dy with the kernel turned by 180 degrees where the stride is 1 and that moves less than
adding columns back (col2im) does.
"""

from collections.abc import Iterator
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


def conv(x: Any, weight: Any, bias: Any, window: Window, groups: int = 1) -> Any:
    """Substitute for `xpcnn.ops.conv`."""
    (top, _), (left, _) = window.pads(*x.shape[2:])
    filters = _filters(weight, groups)
    return as_images(
        _correlate(rows_first(x), filters, bias, window, (top, left), window.output_size(*x.shape[2:]))
    )


def conv_backward(
    dy: Any, x: Any, weight: Any, window: Window, groups: int = 1, need_dx: bool = True
) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.conv_backward`."""
    (top, _), (left, _) = window.pads(*x.shape[2:])
    rows, drows = rows_first(x), rows_first(dy)
    dweight, dbias = _weight_gradient(drows, rows, window, (top, left), groups)
    O, C, KH, KW = weight.shape  # C of a group
    dweight = dweight.reshape(groups, KH, C, KW, O // groups).transpose(0, 4, 2, 1, 3).reshape(weight.shape)
    if not need_dx:
        return None, dweight, dbias
    if window.stride == (1, 1) and O <= 2 * KH * C * groups:
        turned = weight[:, :, ::-1, ::-1].reshape(groups, O // groups, C, KH, KW).swapaxes(1, 2)
        filters = _filters(turned.reshape(groups * C, O // groups, KH, KW), groups)
        before = window.extent[0] - 1 - top, window.extent[1] - 1 - left
        window = Window(window.size, 1, 0, window.dilation)
        dx = _correlate(drows, filters, None, window, before, x.shape[2:])
    else:
        dx = _scatter(drows, _filters(weight, groups), window, (top, left), rows.shape)
    return as_images(dx), dweight, dbias


def _filters(weight: Array, groups: int) -> Array:
    """Lay filters out for rows: (O,C/G,KH,KW) -> (G, O/G, KH*C/G*KW)."""
    return weight.swapaxes(1, 2).reshape(groups, len(weight) // groups, -1)


def _correlate(
    x: Array, filters: Array, bias: Array | None, window: Window, before: Pair, output_size: Pair
) -> Array:
    """Slide filters over rows that begin `before` = (top, left) pixels late: (H,C,W,N) -> (OH,O,OW,N)."""
    (groups, width, K), (OH, OW), N = filters.shape, output_size, x.shape[3]
    y = np.empty((OH, groups * width, OW, N), x.dtype)

    def some(start: int, stop: int) -> None:
        for rows, columns in _blocks(slice(start, stop), OW, x, window):
            unrolled = _unroll(x, window, before, (rows, columns), groups)  # (G, R, K, Q*N)
            piece = _grouped(y[rows, :, columns], groups)  # (R, G, O/G, Q*N)
            np.matmul(filters[:, np.newaxis], unrolled, out=piece.swapaxes(0, 1))
            if bias is not None:
                piece += bias.reshape(groups, width, 1)

    in_parallel(some, OH, y.size * K)
    return y


def _weight_gradient(dy: Array, x: Array, window: Window, before: Pair, groups: int) -> tuple[Array, Array]:
    """Return dW as (G, KH*C/G*KW, O/G), and db."""
    (OH, O, OW, _), KHKW = dy.shape, window.size[0] * window.size[1]
    parts: dict[int, tuple[Array, Array]] = {}

    def some(start: int, stop: int) -> None:
        dfilters: Any = 0
        dbias = np.zeros(O, dy.dtype)
        for rows, columns in _blocks(slice(start, stop), OW, x, window):
            unrolled = _unroll(x, window, before, (rows, columns), groups)  # (G, R, K, Q*N)
            d = _grouped(dy[rows, :, columns], groups).swapaxes(0, 1)  # (G, R, O/G, Q*N)
            together = max(1, workspace_bytes() // (unrolled.shape[2] * O * x.itemsize))
            for r in range(0, d.shape[1], together):  # so many products are as large as a workspace
                some_rows = slice(r, r + together)
                products = unrolled[:, some_rows] @ d[:, some_rows].swapaxes(2, 3)
                dfilters = dfilters + products.sum(axis=1)
            dbias += (d @ np.ones(d.shape[3], d.dtype)).sum(axis=1).reshape(O)
        parts[start] = dfilters, dbias

    in_parallel(some, OH, dy.size * x.shape[1] // groups * KHKW)
    (dfilters, dbias), *others = (parts[start] for start in sorted(parts))  # in one order: one sum
    for other, another in others:
        dfilters, dbias = dfilters + other, dbias + another
    return dfilters, dbias


def _scatter(dy: Array, filters: Array, window: Window, before: Pair, shape: tuple[int, ...]) -> Array:
    """Multiply back to columns and add them onto the pixels they came from: (OH,O,OW,N) -> (H,C,W,N)."""
    (H, C, W, N), (OH, _, OW, _), groups = shape, dy.shape, len(filters)
    (KH, KW), (SH, SW), (DH, DW), (top, left) = window.size, window.stride, window.dilation, before
    dx = np.zeros(shape, dy.dtype)
    transposed = filters.swapaxes(1, 2)[:, np.newaxis]  # (G, 1, K, O/G)
    for rows, columns in _blocks(slice(0, OH), OW, dx, window):
        R, Q = rows.stop - rows.start, columns.stop - columns.start
        d = _grouped(dy[rows, :, columns], groups).swapaxes(0, 1)  # (G, R, O/G, Q*N)
        taps = transposed @ d  # (G, R, K, Q*N)
        taps = taps.reshape(groups, R, KH, C // groups, KW, Q, N)
        for i in range(KH):
            to_rows, from_rows = _meet(rows.start * SH + i * DH - top, SH, R, H)
            for j in range(KW):
                to_columns, from_columns = _meet(columns.start * SW + j * DW - left, SW, Q, W)
                target = dx[to_rows, :, to_columns]  # (r, C, q, N)
                add = taps[:, from_rows, i, :, j, from_columns]  # (G, r, C/G, q, N)
                target += add.swapaxes(0, 1).reshape(target.shape)
    return dx


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
    budget = max(workspace_bytes() // threads.count(), 1)
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
    R = height(Q)
    for top in range(rows.start, rows.stop, R):
        for left in range(0, OW, Q):
            yield slice(top, min(top + R, rows.stop)), slice(left, min(left + Q, OW))


def _unroll(x: Array, window: Window, before: Pair, block: Block, groups: int) -> Array:
    """Return the columns of a block of windows: (H,C,W,N) -> (G, R, KH*C/G*KW, Q*N), R windows down, Q across.

    Only (G, rows, C/G, KW, Q, N) is copied; windows one below the other overlap in it. A window that is one
    pixel wide and stays inside the picture needs no copy at all.
    """
    (H, C, W, N), ((top, left), (rows, columns)) = x.shape, (before, block)
    (KH, KW), (SH, SW), (DH, DW) = window.size, window.stride, window.dilation
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
    copy[:, : to_rows.start] = copy[:, to_rows.stop :] = 0
    source = (
        x[from_rows].reshape(to_rows.stop - to_rows.start, groups, C // groups, W, N).swapaxes(0, 1)
    )  # (G, rows, C/G, W, N)
    for j in range(KW):
        from_columns, to_columns = _meet(columns.start * SW + j * DW - left, SW, Q, W)
        tap = copy[:, to_rows, :, j]  # (G, rows, C/G, Q, N)
        tap[..., : to_columns.start, :] = tap[..., to_columns.stop :, :] = 0
        tap[..., to_columns, :] = source[..., from_columns, :]
    line = Q * N * x.itemsize
    row = C // groups * KW * line
    return as_strided(
        copy, (groups, R, KH * C // groups * KW, Q * N), (length * row, SH * row, line, x.itemsize)
    )


def _meet(first: int, step: int, count: int, length: int) -> tuple[slice, slice]:
    """Of the places first, first + step, ..., `count` of them: which lie in range(length), and which of the count."""
    start = min(max(-(-(0 - first) // step), 0), count)
    stop = max(min(-(-(length - first) // step), count), start)
    low = first + start * step
    return slice(low, max(low + (stop - start - 1) * step + 1, low) if stop > start else low, step), slice(
        start, stop
    )
