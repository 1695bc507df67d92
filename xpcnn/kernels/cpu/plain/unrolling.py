r"""im2col for the taps along the width only, in blocks that fit a thread's workspace.

    x      row h, channel c:   | w=0 | w=1 | w=2 | w=3 | ...            N numbers in a cell
    copy   row h, channel c:   tap 0 of window | 0 | 1 | 2 | ... Q-1
                               tap 1 of window | 0 | 1 | 2 | ... Q-1    tap j of window q is pixel q*SW + j*DW - left
                               ...             KW lines of Q*N numbers, zeros where a tap reads padding

    copied rows   | row 0 | row 1 | row 2 | row 3 | row 4 |             a row is C*KW lines
    output row 0  \_______ KH = 3 _______/                              its im2col matrix, (KH*C*KW, Q*N)
    output row 1          \_______________________/                     that of the next one begins SH rows later

Matrices of neighbouring output rows overlap in memory: each row is copied once. With a dilation along the height the
rows of a window are not neighbours, and a block is one output row.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from xpcnn.geometry import Pair, Window
from xpcnn.kernels.cpu import shares
from xpcnn.kernels.cpu.layout import Array, matrices
from xpcnn.kernels.cpu.taps import overlap, taps_along_width
from xpcnn.kernels.cpu.workspace import budget, pieces, workspace

Block = tuple[slice, slice]

WIDE_ENOUGH = 512
"""Columns from which a matrix product is no faster for having more."""


def blocks(rows: slice, OH: int, OW: int, x: Array, window: Window) -> Iterator[Block]:
    """Cut output rows and columns into blocks whose unrolled rows fit a thread's workspace.

    Wide rows are cut into pieces, as long as the products stay wide enough: then more rows fit, and fewer are
    unrolled twice, in the blocks above and below. `rows` are a range of OH, which decides where columns are cut: all
    that BLAS's results may depend on is the same for any range.
    """
    (KH, KW), SH, (_, C, _, N) = window.size, window.stride[0], x.shape
    most = budget()
    column = max(C * KW * N * x.itemsize, 1)  # bytes of one output column of one unrolled row

    def height(columns: int) -> int:
        fit = most // (column * columns)
        return 1 if window.dilation[0] > 1 else max(1, (fit - KH) // SH + 1)

    cuts, wanted = 1, min(OH, 4 * KH)
    while cuts < OW and height(-(-OW // cuts)) < wanted:
        if -(-OW // (cuts + 1)) * N < WIDE_ENOUGH and KH * column * -(-OW // cuts) <= most:
            break
        cuts += 1
    Q = -(-OW // cuts)
    yield from product(pieces(rows, height(Q)), pieces(slice(0, OW), Q))


def windows(x: Array, window: Window, pad: Pair, block: Block, groups: int) -> Array:
    """Return the im2col matrices of a block of R x Q windows: (H,C,W,N) -> (G, R, KH*C/G*KW, Q*N).

    Only (G, rows, C/G, KW, Q, N) is copied. A window that is one pixel wide and stays inside the image needs no copy.
    """
    (H, C, W, N), ((top, left), (rows, columns)) = x.shape, (pad, block)
    (KH, KW), (SH, SW), DH = window.size, window.stride, window.dilation[0]
    R, Q = rows.stop - rows.start, columns.stop - columns.start
    step = 1 if KH == 1 else DH
    first, length = rows.start * SH - top, KH if step > 1 else (R - 1) * SH + KH
    inside = first >= 0 and first + (length - 1) * step < H
    if KW == SW == groups == step == 1 and left == 0 and inside and columns.stop <= W:
        return matrices(x, first, KH, SH, R, columns)[np.newaxis]
    copy = workspace((groups, length, C // groups, KW, Q, N), x.dtype)
    image_rows, copied_rows = overlap(first, step, length, H)
    for padding in (slice(0, copied_rows.start), slice(copied_rows.stop, length)):
        if padding.start < padding.stop:
            copy[:, padding] = 0
    _unroll(x[image_rows], window, left, columns, copy[:, copied_rows])
    line = Q * N * x.itemsize
    row = C // groups * KW * line
    return as_strided(
        copy, (groups, R, KH * C // groups * KW, Q * N), (length * row, SH * row, line, x.itemsize)
    )


def _unroll(x: Array, window: Window, left: int, columns: slice, copy: Array) -> None:
    """Copy the pixels that each tap along the width reads, zeros for padding: (R,C,W,N) -> (G,R,C/G,KW,Q,N)."""
    (groups, R, C, KW, Q, N), W = copy.shape, x.shape[2]
    x = x.reshape(R, groups, C, W, N).swapaxes(0, 1)  # (G, R, C/G, W, N)
    SW, DW = window.stride[1], window.dilation[1]
    taps = taps_along_width(W, KW, SW, DW, columns.start * SW - left, Q)
    if not any(tap.gaps for tap in taps):
        pixel = N * x.itemsize
        x = x[..., taps[0].pixels.start :, :]
        copy[...] = as_strided(
            x, copy.shape, (*x.strides[:3], DW * pixel, SW * pixel, x.itemsize), writeable=False
        )
        return
    for j, tap in enumerate(taps):
        copy[:, :, :, j, tap.windows] = x[..., tap.pixels, :]
        for gap in tap.gaps:
            copy[:, :, :, j, gap] = 0


def sum_of_products(a: Array, b: Array) -> Array:
    """Return the sum of A @ B over rows, the third axis from the end, as many products at a time as fit."""
    *groups, R, M, _ = a.shape
    together = max(1, budget() // (prod(groups) * M * b.shape[-1] * a.itemsize))
    return pairwise(
        (a[..., rows, :, :] @ b[..., rows, :, :]).sum(axis=-3) for rows in pieces(slice(0, R), together)
    )


def pairwise(terms: Iterable[Array]) -> Array:
    """Add arrays in pairs, then the sums in pairs, and so on; the arrays are overwritten.

    Rounding grows with the logarithm of their number, not with their number, and no more sums than that are kept.
    """
    sums: list[Array] = []
    for number, term in enumerate(terms, start=1):
        while number % 2 == 0:
            term += sums.pop()
            number //= 2
        sums.append(term)
    return shares.added(reversed(sums))
