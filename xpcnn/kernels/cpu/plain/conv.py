"""Convolution in NumPy: multiply the rows where they are and shift the products, or unroll them and multiply then.

`shifting` needs no copies of the rows but adds KW*O products for each pixel; it serves most layers. This file serves
the others: few channels or many filters, groups, strides along the width, dilations along the height. `unrolling`
copies rows for the taps along the width, and has the drawing; a block of them is multiplied while it is in the cache:

    filters (O, KH*C*KW)  @  KH unrolled rows (KH*C*KW, Q*N)  =  Q pixels of an output row (O, Q*N)

dx is a correlation of dy where that moves less memory than col2im does.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from xpcnn.geometry import Pair, Window
from xpcnn.kernels.cpu import conv as shared
from xpcnn.kernels.cpu import shares
from xpcnn.kernels.cpu.col2im import by_groups, filters_by_rows
from xpcnn.kernels.cpu.layout import Array
from xpcnn.kernels.cpu.plain import shifting
from xpcnn.kernels.cpu.plain.unrolling import blocks, pairwise, sum_of_products, windows
from xpcnn.kernels.registry import substitute

GRAIN = 1 << 26
"""Multiply-adds of a share of a weight gradient, or more: a millisecond or so."""


@substitute("plain")
def conv(x: Any, weight: Any, bias: Any, window: Window, groups: int = 1) -> Any:
    """Substitute for `xpcnn.ops.conv`."""
    return shared.forward(_correlation, x, weight, bias, window, groups)


@substitute("plain")
def conv_backward(
    dy: Any, x: Any, weight: Any, window: Window, groups: int = 1, need_dx: bool = True, out: Any = None
) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.conv_backward`."""
    by_correlation = len(weight) <= 2 * weight[0, :, :, 0].size * groups
    return shared.backward(
        _correlation, _weight_gradient, dy, x, weight, window, groups, need_dx, by_correlation, out
    )


def _correlation(
    x: Array, weight: Array, bias: Array | None, window: Window, groups: int, pad: Pair, y: Array
) -> Any:
    """Return the function (start, stop) that writes rows of y, for x padded by `pad` = (top, left)."""
    if (write := shifting.correlation(x, weight, bias, window, groups, pad, y)) is not None:
        return write
    _, O, OW, _ = y.shape
    filters = filters_by_rows(weight, groups).reshape(groups, 1, O // groups, -1)  # (G, 1, O/G, KH*C/G*KW)

    def unroll_and_write(start: int, stop: int) -> None:
        for rows, columns in blocks(slice(start, stop), len(y), OW, x, window):
            unrolled = windows(x, window, pad, (rows, columns), groups)  # (G, R, KH*C/G*KW, Q*N)
            block = by_groups(y[rows, :, columns], groups)  # (R, G, O/G, Q*N)
            np.matmul(filters, unrolled, out=block.swapaxes(0, 1))
            if bias is not None:
                block += bias.reshape(groups, O // groups, 1)  # (G, O/G, 1)

    return unroll_and_write


def _weight_gradient(dy: Array, x: Array, weight: Array, window: Window, groups: int, pad: Pair) -> Any:
    """Return one task for each share of the rows of dy, and the function that writes dW and returns db."""
    ranges = shares.of_gradient(dy, weight.nbytes, dy.size * weight[0].size, GRAIN)
    sums: dict[int, tuple[Array, Array]] = {}

    def add(rows: slice) -> None:
        sums[rows.start] = _sums_of_share(dy, x, window, pad, groups, rows)

    def gradients(dweight: Array) -> Array:
        dfilters, dbias = (
            shares.added(terms) for terms in zip(*(sums[r.start] for r in ranges), strict=True)
        )
        by_group = dweight.reshape(groups, -1, *weight.shape[1:])  # (O, C/G, KH, KW) -> (G, O/G, C/G, KH, KW)
        by_group[...] = dfilters.transpose(0, 4, 2, 1, 3)  # (G, KH, C/G, KW, O/G) -> (G, O/G, C/G, KH, KW)
        return dbias.astype(dy.dtype)

    return [partial(add, rows) for rows in ranges], gradients


def _sums_of_share(
    dy: Array, x: Array, window: Window, pad: Pair, groups: int, share: slice
) -> tuple[Array, Array]:
    """Return dW as (G,KH,C/G,KW,O/G), and db in double, of a share of the rows of dy."""
    (_, O, OW, N), C, (KH, KW) = dy.shape, x.shape[1] // groups, window.size
    R = share.stop - share.start
    row_sums = dy[share].reshape(R, O, OW * N).sum(axis=2)  # pairwise, unlike a product with ones
    dbias = row_sums.sum(axis=0, dtype=np.float64)
    if shifting.is_matrix(C, window, groups):
        return shifting.weight_gradient(dy, x, window, pad, share)[np.newaxis], dbias

    def products() -> Iterator[Array]:
        for rows, columns in blocks(share, R, OW, x, window):
            unrolled = windows(x, window, pad, (rows, columns), groups)  # (G, R, KH*C/G*KW, Q*N)
            d = by_groups(dy[rows, :, columns], groups).swapaxes(0, 1)  # (G, R, O/G, Q*N)
            yield sum_of_products(unrolled, d.swapaxes(2, 3))

    dfilters = pairwise(products())  # (G, KH*C/G*KW, O/G)
    return dfilters.reshape(groups, KH, C, KW, O // groups), dbias
