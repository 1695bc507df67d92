"""Convolution in batch-last memory, tile by tile: the columns of a few output rows never leave the cache.

The product of a tile is taken as soon as it is unrolled, so memory does not grow with KH*KW, and backward
unrolls again. dx is a convolution of dy with the flipped kernel where that moves less than adding columns
back (col2im) does, and the stride is 1.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from xpcnn.geometry import Window
from xpcnn.kernels.numpy.batch_last import Array, batch_first, batch_last, surround, windows

TILE = 1 << 20
"""Bytes of unrolled columns at a time: about half of a core's second-level cache."""

SCATTER_COST = 1.3
"""What adding a column back costs, in units of unrolling one; measured."""


def conv(x: Any, weight: Any, bias: Any, window: Window, groups: int = 1) -> Any:
    """Substitute for `xpcnn.ops.conv`."""
    padded = surround(batch_last(x), window.borders(*x.shape[2:]))
    y = _correlate(padded, weight, bias, window, groups, window.output_size(*x.shape[2:]))
    return batch_first(y)


def conv_backward(
    dy: Any, x: Any, weight: Any, window: Window, groups: int = 1, need_dx: bool = True
) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.conv_backward`."""
    dy, borders = batch_last(dy), window.borders(*x.shape[2:])
    O, OH, OW, N = dy.shape
    C, H, W = x.shape[1:]
    flipped = need_dx and window.stride == (1, 1) and O * H * W <= SCATTER_COST * C * OH * OW
    padded = surround(batch_last(x), borders)
    dpadded = np.zeros_like(padded) if need_dx and not flipped else None
    fields = windows(padded, window, OH, OW)
    filters = np.ascontiguousarray(
        weight.reshape(groups, O // groups, -1).swapaxes(1, 2)
    )  # (G, C/G*KH*KW, O/G)

    d = dy.reshape(groups, O // groups, OH * OW * N)
    dweight = np.zeros_like(filters)
    for tile in _tiles(OH, OW, C * window.size[0] * window.size[1] * N * x.itemsize):
        columns = _unroll(fields, tile, groups)
        piece = d[:, :, _flat(tile, OW, N)]
        dweight += columns @ piece.swapaxes(1, 2)  # the small operand is the transposed one
        if dpadded is not None:
            room = columns if columns.flags.writeable else None  # a 1x1 window unrolls to a view of x
            _add_back(dpadded, np.matmul(filters, piece, out=room), window, tile)
    dbias = dy.reshape(O, -1).sum(axis=1)

    dx = None
    if flipped:
        dx = batch_first(_correlate_flipped(dy, weight, window, groups, (H, W)))
    elif dpadded is not None:
        (top, _), (left, _) = borders
        dx = batch_first(dpadded[:, top : top + H, left : left + W])
    return dx, np.ascontiguousarray(dweight.swapaxes(1, 2)).reshape(weight.shape), dbias


Tile = tuple[slice, slice]


def _tiles(OH: int, OW: int, bytes_per_window: int) -> Iterator[Tile]:
    """Cut the (OH,OW) windows into tiles whose columns take about TILE bytes: whole rows, or pieces of one."""
    bytes_per_window = max(1, bytes_per_window)  # an empty batch has none
    columns = max(1, min(OW, TILE // bytes_per_window))
    rows = max(1, TILE // (bytes_per_window * OW)) if columns == OW else 1
    for top in range(0, OH, rows):
        for left in range(0, OW, columns):
            yield slice(top, min(top + rows, OH)), slice(left, min(left + columns, OW))


def _flat(tile: Tile, OW: int, N: int) -> slice:
    """Where a tile lies among OH*OW*N flat elements: whole rows, or a piece of one, are in one piece."""
    rows, columns = tile
    return slice((rows.start * OW + columns.start) * N, ((rows.stop - 1) * OW + columns.stop) * N)


def _unroll(fields: Array, tile: Tile, groups: int) -> Array:
    """Copy a tile of the receptive fields: (C,KH,KW,OH,OW,N) -> (G, C/G*KH*KW, windows of the tile * N)."""
    C, KH, KW = fields.shape[:3]
    return fields[:, :, :, tile[0], tile[1]].reshape(groups, C // groups * KH * KW, -1)


def _correlate(
    padded: Array,
    weight: Array,
    bias: Array | None,
    window: Window,
    groups: int,
    output_size: tuple[int, int],
) -> Array:
    """Slide the filters over padded planes: (C,PH,PW,N) -> (O,OH,OW,N)."""
    (OH, OW), O, N = output_size, len(weight), padded.shape[3]
    fields = windows(padded, window, OH, OW)
    filters = weight.reshape(groups, O // groups, -1)
    y = np.empty((groups, O // groups, OH * OW * N), padded.dtype)
    for tile in _tiles(OH, OW, fields.size // (OH * OW) * y.itemsize):
        piece = y[:, :, _flat(tile, OW, N)]
        np.matmul(filters, _unroll(fields, tile, groups), out=piece)
        if bias is not None:
            piece += bias.reshape(groups, -1, 1)
    return y.reshape(O, OH, OW, N)


def _correlate_flipped(
    dy: Array, weight: Array, window: Window, groups: int, image_size: tuple[int, int]
) -> Array:
    """Dx = dy, spread out by the window's extent, against the kernel turned by 180 degrees; stride 1 only."""
    (EH, EW), ((top, _), (left, _)) = window.extent, window.pads(*image_size)
    O, OH, OW, _ = dy.shape
    H, W = image_size
    turned = weight[:, :, ::-1, ::-1].reshape(groups, O // groups, -1, *window.size).swapaxes(1, 2)
    turned = np.ascontiguousarray(turned).reshape(-1, O // groups, *window.size)  # (C, O/G, KH, KW)
    before, after = (EH - 1 - top, EW - 1 - left), (H - OH + top, W - OW + left)
    spread = surround(dy, ((max(before[0], 0), max(after[0], 0)), (max(before[1], 0), max(after[1], 0))))
    skip = max(-before[0], 0), max(-before[1], 0)
    spread = spread[:, skip[0] : skip[0] + H + EH - 1, skip[1] : skip[1] + W + EW - 1]
    return _correlate(spread, turned, None, Window(window.size, 1, 0, window.dilation), groups, (H, W))


def _add_back(dpadded: Array, columns: Array, window: Window, tile: Tile) -> None:
    """col2im of a tile, in place."""
    rows, cols = tile
    (SH, SW), C, N = window.stride, len(dpadded), dpadded.shape[3]
    taps = columns.reshape(C, *window.size, rows.stop - rows.start, cols.stop - cols.start, N)
    part = dpadded[:, rows.start * SH :, cols.start * SW :]
    for (i, j), (_, down, across) in window.taps(*taps.shape[3:5]):
        part[:, down, across] += taps[:, i, j]
