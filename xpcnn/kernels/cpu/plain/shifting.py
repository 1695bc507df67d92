"""Convolution without unrolling: the rows are multiplied as they lie, and the products are shifted.

In (H,C,W,N) the KH rows that a window spans are one matrix of KH*C by W*N. Multiplied by filters of (KW*O, KH*C) they
give a share of the output row for each tap across: what it makes of every pixel. Tap j of window q meets pixel
q + j*DW - left, so the shares are added shifted by that much. dW needs no shares: for each tap across it is the
product of the pixels that it meets and of dy where it meets them.
"""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from xpcnn.geometry import Pair, Window
from xpcnn.kernels.cpu.layout import Array, matrices
from xpcnn.kernels.cpu.plain.fitting import fitting, pieces, sum_of_products
from xpcnn.kernels.cpu.plain.unrolling import across
from xpcnn.kernels.cpu.workspace import workspace

MANY = 8
"""Channels from which the products are worth it: with fewer they are so small that what is added costs more."""


def is_matrix(channels: int, window: Window, groups: int) -> bool:
    """Tell whether the rows of a window are a matrix as they lie, and a high one."""
    (KH, KW), DH = window.size, window.dilation[0]
    return groups == window.stride[1] == 1 < KW and (DH == 1 or KH == 1) and channels >= MANY


def correlation(
    x: Array, weight: Array, bias: Array | None, window: Window, groups: int, before: Pair, y: Array
) -> Callable[[slice], None] | None:
    """Return what slides filters over rows that begin `before` = (top, left) pixels late, and writes rows of y.

    Or None where unrolling is faster: where KW*O shares are more to add than KW*C rows are to copy, or many pixels are
    multiplied that no window begins at.
    """
    (H, C, W, N), (O, _, KH, KW), OW = x.shape, weight.shape, y.shape[2]
    if not is_matrix(C, window, groups) or O > 2 * C or 5 * W > 6 * OW:
        return None
    (top, left), SH, DW = before, window.stride[0], window.dilation[1]
    filters = weight.transpose(3, 0, 2, 1).reshape(KW * O, KH * C)
    biases = np.zeros((O, 1, 1), x.dtype) if bias is None else bias.reshape(O, 1, 1)

    def write(part: slice) -> None:
        R, Q = fitting(part.stop - part.start, W, KW * O * N * x.itemsize)
        for rows, columns in product(pieces(part, R), pieces(slice(0, W), Q)):
            Q = columns.stop - columns.start
            shares = workspace((rows.stop - rows.start, KW, O, Q, N), x.dtype)
            for same, taps in _rows_alike(rows, H, KH, SH, top):
                R, height = same.stop - same.start, taps.stop - taps.start
                of_rows = shares[same.start - rows.start :][:R].reshape(R, KW * O, Q * N)
                if height:
                    pixels = matrices(x, same.start * SH - top + taps.start, height, SH, R, columns)
                    np.matmul(filters[:, taps.start * C : taps.stop * C], pixels, out=of_rows)
                else:
                    of_rows[...] = 0
            places = [(to, seen) for to, seen, _ in across(Q, KW, 1, DW, -left - columns.start, OW)]
            _add(shares, places, y[rows], biases if columns.start == 0 else None)

    return write


def _add(shares: Array, places: list[tuple[slice, slice]], y: Array, biases: Array | None) -> None:
    """Add every tap's share (R,O,Q,N), of (R,KW,O,Q,N), to y (R,O,OW,N): (to where, from where), first over biases."""
    begin = None
    if biases is not None:  # nothing is in y yet: a tap that all windows meet makes the beginning
        begin = next((j for j, (to, _) in enumerate(places) if to == slice(0, y.shape[2])), None)
        if begin is None:
            y[...] = biases
        else:
            np.add(shares[:, begin, :, places[begin][1]], biases, out=y)
    for j, (to, seen) in enumerate(places):
        if j != begin:
            target = y[:, :, to]
            target += shares[:, j, :, seen]


def weight_gradient(dy: Array, x: Array, window: Window, before: Pair, part: slice) -> Array:
    """Return dW as (KH,C,KW,O) of a share of the rows of dy."""
    (_, O, OW, _), (H, C, W, _), (KH, KW), (top, left) = dy.shape, x.shape, window.size, before
    SH, DW = window.stride[0], window.dilation[1]
    dfilters = np.zeros((KW, KH * C, O), dy.dtype)
    for rows, taps in _rows_alike(part, H, KH, SH, top):
        R, height, first = rows.stop - rows.start, taps.stop - taps.start, rows.start * SH - top + taps.start
        for of_tap, (to, seen, _) in zip(dfilters, across(W, KW, 1, DW, -left, OW), strict=True):
            if height and to.start < to.stop:
                pixels = matrices(x, first, height, SH, R, seen)
                gradients = matrices(dy, rows.start, 1, 1, R, to)
                of_tap[taps.start * C : taps.stop * C] += sum_of_products(pixels, gradients.swapaxes(1, 2))
    return dfilters.reshape(KW, KH, C, O).transpose(1, 2, 0, 3)


def _rows_alike(part: slice, H: int, KH: int, SH: int, top: int) -> Iterator[tuple[slice, slice]]:
    """Cut output rows into those whose windows lie inside the image, together, and each other alone: (rows, taps).

    Taps are those that meet the image; there may be none.
    """
    begin = min(max(-(-top // SH), part.start), part.stop)
    end = max(min((H - KH + top) // SH + 1, part.stop), begin)
    inside = [slice(begin, end)] if begin < end else []
    for rows in (*pieces(slice(part.start, begin), 1), *inside, *pieces(slice(end, part.stop), 1)):
        first = rows.start * SH - top
        start, stop = max(0, -first), min(KH, H - first)
        yield rows, slice(start, stop) if start < stop else slice(0, 0)
