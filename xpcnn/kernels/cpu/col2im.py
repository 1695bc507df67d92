"""dx where the stride is not 1: multiply dy back to the columns of im2col, and add them to the pixels they came from.

    W^T (KH*C*KW, O)  @  a row of dy (O, Q*N)  =  taps (KH, C, KW, Q, N)

    dx, row of tap i, channel c:   | . | . | . | . | . | . |      tap j of window q adds N numbers to pixel
                                     ^ tap 0 of window 0          q*SW + j*DW - left
                                         ^ tap 1 of window 0

Rows of neighbouring windows add to the same pixels, channels never do: a thread computes a range of the channels of
every group, a block of output rows and columns at a time.
"""

from collections.abc import Callable
from functools import partial
from itertools import product

from xpcnn.geometry import Pair, Window
from xpcnn.kernels.cpu import shares
from xpcnn.kernels.cpu.layout import Array
from xpcnn.kernels.cpu.taps import overlap, taps_along_width
from xpcnn.kernels.cpu.workspace import fitting, pieces

CHANNELS = 32
"""Channels of a task, or more."""


def filters_by_rows(weight: Array, groups: int) -> Array:
    """Order filters as rows of an image are: (O,C/G,KH,KW) -> (G, O/G, KH, C/G*KW)."""
    O, C, KH, KW = weight.shape
    return weight.swapaxes(1, 2).reshape(groups, O // groups, KH, C * KW)  # (G, O/G, KH, C/G*KW)


def by_groups(block: Array, groups: int) -> Array:
    """View a block of an output by groups: (R,O,Q,N) -> (R,G,O/G,Q*N)."""
    R, O, Q, N = block.shape
    return block.reshape(R, groups, O // groups, Q * N)  # (R, G, O/G, Q*N)


def col2im_tasks(
    dy: Array, weight: Array, window: Window, pad: Pair, groups: int, dx: Array
) -> list[Callable[[], None]]:
    """Return tasks that write dx: each a range of the channels of every group."""
    filters, C = filters_by_rows(weight, groups), weight.shape[1]
    ranges = shares.cut(C, C // CHANNELS, dy.size * weight[0].size)
    return [partial(_add_columns, dy, filters, window, pad, dx, channels) for channels in ranges]


def _add_columns(dy: Array, filters: Array, window: Window, pad: Pair, dx: Array, channels: slice) -> None:
    """Write dx in a range of each group's channels."""
    (H, C, W, N), (OH, O, OW, _), groups = dx.shape, dy.shape, len(filters)
    (KH, KW), (SH, SW), (DH, DW), (top, left) = window.size, window.stride, window.dilation, pad
    c = channels.stop - channels.start
    dx = dx.reshape(H, groups, C // groups, W, N)[:, :, channels]  # (H, G, c, W, N)
    dx[...] = 0
    transposed = filters.reshape(groups, O // groups, KH, C // groups, KW)[:, :, :, channels]
    transposed = transposed.reshape(groups, 1, O // groups, KH * c * KW)  # (G, 1, O/G, KH*c*KW)
    transposed = transposed.swapaxes(2, 3)
    R, Q = fitting(OH, OW, groups * KH * c * KW * N * dx.itemsize)
    for rows, columns in product(pieces(slice(0, OH), R), pieces(slice(0, OW), Q)):
        R, Q = rows.stop - rows.start, columns.stop - columns.start
        d = by_groups(dy[rows, :, columns], groups).swapaxes(0, 1)  # (G, R, O/G, Q*N)
        products = (transposed @ d).reshape(groups, R, KH, c, KW, Q, N)  # (G, R, KH, c, KW, Q, N)
        taps = taps_along_width(W, KW, SW, DW, columns.start * SW - left, Q)
        for i in range(KH):
            image_rows, window_rows = overlap(rows.start * SH + i * DH - top, SH, R, H)
            for j, tap in enumerate(taps):
                target = dx[image_rows, :, :, tap.pixels]  # (r, G, c, q, N)
                target += products[:, window_rows, i, :, j, tap.windows].swapaxes(0, 1)
