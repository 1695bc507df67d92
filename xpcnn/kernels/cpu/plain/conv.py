"""Convolution on rows: multiply them as they lie and shift the products, or unroll them across and multiply then.

`shifting` needs no copies of the rows but adds KW*O products for each pixel; it serves most layers. Here is what serves
the others: few channels or many filters, groups, strides across, dilations down. Rows are unrolled across only, a block
of them at a time, and multiplied while it is in the cache: KH unrolled rows and filters of (O, KH*C*KW) give one
output row.

dx is a convolution of dy with the kernel turned by 180 degrees where the stride is 1 and that moves less than
adding columns back (col2im) does.
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from xpcnn.geometry import Pair, Window
from xpcnn.kernels.cpu import shares, threads
from xpcnn.kernels.cpu.layout import Array, as_images, rows_first
from xpcnn.kernels.cpu.plain import shifting
from xpcnn.kernels.cpu.plain.fitting import fitting, pieces, sum_of_products
from xpcnn.kernels.cpu.plain.unrolling import across, blocks, meet, windows

GRAIN, CHANNELS = 1 << 26, 32
"""What a share has, or more: multiply-adds of a weight gradient (a millisecond or so), channels of dx to add back."""


def conv(x: Any, weight: Any, bias: Any, window: Window, groups: int = 1) -> Any:
    """Substitute for `xpcnn.ops.conv`."""
    (top, _), (left, _) = window.pads(*x.shape[2:])
    OH, OW = window.output_size(*x.shape[2:])
    y = np.empty((OH, len(weight), OW, len(x)), x.dtype)
    write = _correlation(rows_first(x), weight, bias, window, groups, (top, left), y)
    threads.in_parallel(lambda start, stop: write(slice(start, stop)), OH, products=y.size * weight[0].size)
    return as_images(y)


def conv_backward(
    dy: Any, x: Any, weight: Any, window: Window, groups: int = 1, need_dx: bool = True, out: Any = None
) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.conv_backward`."""
    (top, _), (left, _) = window.pads(*x.shape[2:])
    rows, drows, products = rows_first(x), rows_first(dy), dy.size * weight[0].size
    dx = np.empty(rows.shape, dy.dtype) if need_dx else None
    sums: dict[int, tuple[Array, Array]] = {}

    def add(part: slice) -> None:
        sums[part.start] = _gradients(drows, rows, window, (top, left), groups, part)

    parts = shares.of_gradient(drows, weight.nbytes, products, GRAIN)
    tasks: list[Callable[[], None]] = [partial(add, part) for part in parts]
    if dx is not None and window.stride == (1, 1) and len(weight) <= 2 * weight[0, :, :, 0].size * groups:
        kernel, dense, before = turned(weight, window, (top, left), groups)
        write = _correlation(drows, kernel, None, dense, groups, before, dx)
        tasks += [partial(write, part) for part in shares.equal(len(dx), min(threads.count(), len(dx)))]
    elif dx is not None:
        tasks += scatter(drows, weight, window, (top, left), groups, dx)
    threads.in_turn(tasks, products=(1 + need_dx) * products)
    dfilters, dbias = (
        shares.added(terms) for terms in zip(*(sums[part.start] for part in parts), strict=True)
    )
    dweight = np.empty(weight.shape, dy.dtype) if out is None else out
    by_group = dweight.reshape(groups, -1, *weight.shape[1:])  # (G, O/G, C/G, KH, KW)
    by_group[...] = dfilters.transpose(0, 4, 2, 1, 3)  # from (G,KH,C/G,KW,O/G)
    return None if dx is None else as_images(dx), dweight, dbias.astype(dy.dtype)


def turned(weight: Array, window: Window, before: Pair, groups: int) -> tuple[Array, Window, Pair]:
    """Return the kernel, window and padding by which dx is a convolution of dy, where the stride is 1.

    The kernel is turned by 180 degrees, and its filters and channels change places: (O,C/G,KH,KW) -> (C,O/G,KH,KW).
    """
    O, C, KH, KW = weight.shape
    kernel = weight[:, :, ::-1, ::-1].reshape(groups, O // groups, C, KH, KW).swapaxes(1, 2)
    kernel = kernel.reshape(groups * C, O // groups, KH, KW)
    top, left = (extent - 1 - begin for extent, begin in zip(window.extent, before, strict=True))
    return kernel, Window(window.size, 1, 0, window.dilation), (top, left)


def filters_of_rows(weight: Array, groups: int) -> Array:
    """Lay filters out for rows: (O,C/G,KH,KW) -> (G, O/G, KH, C/G*KW)."""
    O, C, KH, KW = weight.shape
    return weight.swapaxes(1, 2).reshape(groups, O // groups, KH, C * KW)


def _correlation(
    x: Array, weight: Array, bias: Array | None, window: Window, groups: int, before: Pair, y: Array
) -> Callable[[slice], None]:
    """Return what slides filters over rows that begin `before` = (top, left) pixels late, and writes rows of y."""
    if (write := shifting.correlation(x, weight, bias, window, groups, before, y)) is not None:
        return write
    _, O, OW, _ = y.shape
    filters = filters_of_rows(weight, groups).reshape(groups, 1, O // groups, -1)

    def unroll_and_write(part: slice) -> None:
        for rows, columns in blocks(part, len(y), OW, x, window):
            unrolled = windows(x, window, before, (rows, columns), groups)  # (G, R, K, Q*N)
            piece = _grouped(y[rows, :, columns], groups)  # (R, G, O/G, Q*N)
            np.matmul(filters, unrolled, out=piece.swapaxes(0, 1))
            if bias is not None:
                piece += bias.reshape(groups, O // groups, 1)

    return unroll_and_write


def _gradients(
    dy: Array, x: Array, window: Window, before: Pair, groups: int, part: slice
) -> tuple[Array, Array]:
    """Return dW as (G,KH,C/G,KW,O/G), and db in double, of a share of the rows of dy."""
    (_, O, OW, N), C, (KH, KW) = dy.shape, x.shape[1] // groups, window.size
    sums = (
        dy[part].reshape(part.stop - part.start, O, OW * N).sum(axis=2)
    )  # pairwise, unlike a product with ones
    dbias = sums.sum(axis=0, dtype=np.float64)
    if shifting.is_matrix(C, window, groups):
        return shifting.weight_gradient(dy, x, window, before, part)[np.newaxis], dbias
    dfilters = np.zeros((groups, KH * C * KW, O // groups), dy.dtype)
    for rows, columns in blocks(part, part.stop - part.start, OW, x, window):
        unrolled = windows(x, window, before, (rows, columns), groups)  # (G, R, K, Q*N)
        d = _grouped(dy[rows, :, columns], groups).swapaxes(0, 1)  # (G, R, O/G, Q*N)
        dfilters += sum_of_products(unrolled, d.swapaxes(2, 3))
    return dfilters.reshape(groups, KH, C, KW, O // groups), dbias


def scatter(
    dy: Array, weight: Array, window: Window, before: Pair, groups: int, dx: Array
) -> list[Callable[[], None]]:
    """Return tasks that write dx, the adjoint of unrolling: each some channels of every group."""
    filters, C = filters_of_rows(weight, groups), weight.shape[1]
    parts = shares.cut(C, C // CHANNELS, dy.size * weight[0].size)
    return [partial(_scatter, dy, filters, window, before, dx, part) for part in parts]


def _scatter(dy: Array, filters: Array, window: Window, before: Pair, dx: Array, part: slice) -> None:
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
        places = across(W, KW, SW, DW, columns.start * SW - left, Q)
        for i in range(KH):
            to_rows, from_rows = meet(rows.start * SH + i * DH - top, SH, R, H)
            for j, (from_columns, to_columns, _) in enumerate(places):
                target = dx[to_rows, :, :, to_columns]  # (r, G, c, q, N)
                target += taps[:, from_rows, i, :, j, from_columns].swapaxes(0, 1)


def _grouped(block: Array, groups: int) -> Array:
    """View a block of an output by groups: (R,O,Q,N) -> (R,G,O/G,Q*N)."""
    R, O, Q, N = block.shape
    return block.reshape(R, groups, O // groups, Q * N)
