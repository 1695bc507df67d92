"""Convolution without im2col: the rows are multiplied where they are, and the products are shifted.

The KH rows that a window spans are one matrix (KH*C, W*N), see `layout`. The filters' columns j = 0 .. KW-1, one below
the other, give one product for each tap along the width, of every pixel of the row:

    filters (KW*O, KH*C)  @  rows (KH*C, W*N)  =  products (KW, O, W, N)

    window q    =      0        1        2              left = 1, DW = 1
    tap 0          padding   pixel 0  pixel 1           y[:, 1:]  += products[0][:, :-1]
    tap 1          pixel 0   pixel 1  pixel 2           y         += products[1]
    tap 2          pixel 1   pixel 2  padding           y[:, :-1] += products[2][:, 1:]

Tap j of window q reads pixel q + j*DW - left. dW needs no products to shift: for each tap along the width it is the
product of the pixels that the tap reads, (KH*C, q*N), and of dy at the windows that read them, (O, q*N).
"""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from xpcnn.geometry import Pair, Window
from xpcnn.kernels.cpu.layout import Array, matrices
from xpcnn.kernels.cpu.plain.unrolling import sum_of_products
from xpcnn.kernels.cpu.taps import Tap, taps_along_width
from xpcnn.kernels.cpu.workspace import fitting, pieces, workspace

MANY = 8
"""Channels from which the products are worth it: with fewer they are so small that adding them costs more."""


def is_matrix(channels: int, window: Window, groups: int) -> bool:
    """Tell whether the rows of a window are a matrix as they are stored, and a high one."""
    (KH, KW), DH = window.size, window.dilation[0]
    return groups == window.stride[1] == 1 < KW and (DH == 1 or KH == 1) and channels >= MANY


def correlation(
    x: Array, weight: Array, bias: Array | None, window: Window, groups: int, pad: Pair, y: Array
) -> Callable[[int, int], None] | None:
    """Return the function (start, stop) that writes rows of y, for x padded by `pad` = (top, left).

    Or None where unrolling is faster: where KW*O products are more to add than KW*C rows are to copy, or where many
    pixels are multiplied at which no window begins.
    """
    (H, C, W, N), (O, _, KH, KW), OW = x.shape, weight.shape, y.shape[2]
    if not is_matrix(C, window, groups) or O > 2 * C or 5 * W > 6 * OW:
        return None
    (top, left), SH, DW = pad, window.stride[0], window.dilation[1]
    filters = weight.transpose(3, 0, 2, 1).reshape(KW * O, KH * C)  # (KW*O, KH*C)
    biases = np.zeros((O, 1, 1), x.dtype) if bias is None else bias.reshape(O, 1, 1)

    def multiply_and_shift(start: int, stop: int) -> None:
        R, Q = fitting(stop - start, W, KW * O * N * x.itemsize)
        for rows, columns in product(pieces(slice(start, stop), R), pieces(slice(0, W), Q)):
            Q = columns.stop - columns.start
            products = workspace((rows.stop - rows.start, KW, O, Q, N), x.dtype)
            for run, inside in _runs(rows, H, KH, SH, top):
                R, height = run.stop - run.start, inside.stop - inside.start
                of_run = products[run.start - rows.start :][:R]
                of_run = of_run.reshape(R, KW * O, Q * N)  # (R, KW*O, Q*N)
                if height:
                    pixels = matrices(x, run.start * SH - top + inside.start, height, SH, R, columns)
                    np.matmul(filters[:, inside.start * C : inside.stop * C], pixels, out=of_run)
                else:
                    of_run[...] = 0
            taps = taps_along_width(
                Q, KW, 1, DW, -left - columns.start, OW
            )  # pixel 0 is the first of `columns`
            _add_shifted(products, taps, y[rows], biases if columns.start == 0 else None)

    return multiply_and_shift


def _add_shifted(products: Array, taps: list[Tap], y: Array, biases: Array | None) -> None:
    """Add each tap's products, of (R,KW,O,Q,N), to the windows of y (R,O,OW,N) that read them; the first to biases."""
    begin = None
    if biases is not None:  # y is not written yet: a tap of which no window reads padding makes the beginning
        begin = next((j for j, tap in enumerate(taps) if tap.windows == slice(0, y.shape[2])), None)
        if begin is None:
            y[...] = biases
        else:
            np.add(products[:, begin, :, taps[begin].pixels], biases, out=y)
    for j, tap in enumerate(taps):
        if j != begin:
            target = y[:, :, tap.windows]
            target += products[:, j, :, tap.pixels]


def weight_gradient(dy: Array, x: Array, window: Window, pad: Pair, share: slice) -> Array:
    """Return dW as (KH,C,KW,O) of a share of the rows of dy."""
    (_, O, OW, _), (H, C, W, _), (KH, KW), (top, left) = dy.shape, x.shape, window.size, pad
    SH, DW = window.stride[0], window.dilation[1]
    dfilters = np.zeros((KW, KH * C, O), dy.dtype)
    for rows, inside in _runs(share, H, KH, SH, top):
        R, height = rows.stop - rows.start, inside.stop - inside.start
        first = rows.start * SH - top + inside.start
        for of_tap, tap in zip(dfilters, taps_along_width(W, KW, 1, DW, -left, OW), strict=True):
            if height and tap.windows.start < tap.windows.stop:
                pixels = matrices(x, first, height, SH, R, tap.pixels)
                gradients = matrices(dy, rows.start, 1, 1, R, tap.windows)
                products = sum_of_products(pixels, gradients.swapaxes(1, 2))
                of_tap[inside.start * C : inside.stop * C] += products
    return dfilters.reshape(KW, KH, C, O).transpose(1, 2, 0, 3)  # (KH, C, KW, O)


def _runs(rows: slice, H: int, KH: int, SH: int, top: int) -> Iterator[tuple[slice, slice]]:
    """Cut output rows into runs with the same taps inside the image, and yield (run, taps along the height).

    Rows whose windows are inside with all taps are one run, every other row is one alone; it may have no tap inside.
    """
    begin = min(max(-(-top // SH), rows.start), rows.stop)
    end = max(min((H - KH + top) // SH + 1, rows.stop), begin)
    whole = [slice(begin, end)] if begin < end else []
    for run in (*pieces(slice(rows.start, begin), 1), *whole, *pieces(slice(end, rows.stop), 1)):
        first = run.start * SH - top
        start, stop = max(0, -first), min(KH, H - first)
        yield run, slice(start, stop) if start < stop else slice(0, 0)
