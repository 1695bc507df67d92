"""The ring of rows that convolution reads: each row of the image with its padding, ready for any tap.

    ring, as many slots as a window spans rows       row r of the padded image is in slot r % slots

        slot 0   c=0 | line |     a line, for a stride SW = 2 along the width and taps j = 0, 1, 2 (DW = 1):
                 c=1 | line |
        slot 1   c=0 | line |         remainder 0                   remainder 1
                 ...                  | 0 | 2 | 4 | 6 | halo |      | 1 | 3 | 5 | 7 | halo |   slack
                                      tap 0 begins here             tap 1 begins here
                                          tap 2 begins here

A cell of the line is a column of the padded image, N numbers. Columns with the same remainder by SW are neighbours, so
that tap j finds the pixels of all windows of an output row at one offset, one after the other. The halo are the columns
that the last window's taps read beyond its first one. Output row p reads rows p*SH ... p*SH + slots - 1.
"""

from typing import Any, NamedTuple

import numpy as np

from xpcnn.geometry import Pair, Window
from xpcnn.kernels.cpu.compiled.compiler import compiled
from xpcnn.kernels.cpu.compiled.tiles import REGISTER_BYTES, VECTORS
from xpcnn.kernels.cpu.layout import Array
from xpcnn.kernels.cpu.workspace import budget

LINE = 64
"""Bytes of a line of the cache."""


class Plan(NamedTuple):
    """The layout of the ring, and where a window reads it: what compiled functions take as one argument."""

    size: Pair
    stride: Pair
    dilation: Pair
    pad: Pair
    """Rows of padding above the image, and columns to its left."""
    N: int
    columns: int
    """Output columns at a time."""
    remainders: Array
    """Of a column's number by SW: those that a tap reads."""
    length: int
    """Columns for each remainder."""
    shifts: Array
    """Where in a line tap j begins, (KW,)."""


def plan(window: Window, pad: Pair, OW: int, channel: int, N: int) -> Plan:
    """Lay out lines for output rows of OW columns of a batch of N, of as many columns as a thread's workspace holds.

    `channel` counts the bytes of a pixel of one image in all channels.
    """
    KW, SW, DW = window.size[1], window.stride[1], window.dilation[1]
    by_tap = [j * DW % SW for j in range(KW)]
    remainders, halo = sorted(set(by_tap)), (KW - 1) * DW // SW
    column = window.extent[0] * len(remainders) * max(N * channel, 1)
    fitting = max(budget() // column - halo, 1)
    columns = -(-OW // -(-OW // fitting))  # in equal pieces
    length = columns + halo
    shifts = [(remainders.index(r) * length + j * DW // SW) * N for j, r in enumerate(by_tap)]
    return Plan(
        window.size, window.stride, window.dilation, pad, N, columns,
        np.array(remainders), length, np.array(shifts),
    )  # fmt: skip


def ring_shape(plan: Plan, C: int, itemsize: int) -> tuple[int, int, int]:
    """Return (slots, C, line): as many slots as a window spans rows, and slack for a tile beyond the last column."""
    slots = (plan.size[0] - 1) * plan.dilation[0] + 1
    slack = max(VECTORS.values()) * REGISTER_BYTES
    lines = -(-(len(plan.remainders) * plan.length * plan.N * itemsize + slack) // LINE)
    lines |= 1  # an odd number: all lines of the cache serve all channels
    return slots, C, lines * LINE // itemsize


@compiled
def copy_row(ring: Any, row: int, x: Any, first: int, plan: Any) -> None:
    """Copy row `row` of the padded (H,C,W*N), as output columns from `first` on read it, to its slot in the ring."""
    H, C, WN = x.shape
    N, SW, (top, left) = plan.N, plan.stride[1], plan.pad
    slot, source = row % len(ring), row - top
    for c in range(C):
        line, at = ring[slot, c], 0
        if not 0 <= source < H:
            line[:] = 0
            continue
        for remainder in plan.remainders:
            for p in range(plan.length):
                column = (first + p) * SW + remainder - left
                if 0 <= column * N < WN:
                    for n in range(N):
                        line[at + n] = x[source, c, column * N + n]
                else:
                    line[at : at + N] = 0
                at += N


@compiled
def fill_ring(ring: Any, done: int, oh: int, x: Any, first: int, plan: Any) -> Any:
    """Copy the rows that output row `oh` reads, of which all before `done` are in the ring; return the new `done`."""
    start = oh * plan.stride[0]
    stop = start + len(ring)
    for row in range(max(done, start), stop):
        copy_row(ring, row, x, first, plan)
    return stop


@compiled
def find_taps(taps: Any, ring: Any, oh: int, H: int, C: int, plan: Any) -> Any:
    """Set `taps` to the offset of every (i, c, j) in the ring; return the range of them whose rows are in the image."""
    (KH, KW), SH, DH, top = plan.size, plan.stride[0], plan.dilation[0], plan.pad[0]
    slots, channels, line = ring.shape
    begin = end = k = 0
    for i in range(KH):
        row = oh * SH + i * DH
        if row < top:
            begin = k + C * KW
        slot = row % slots * channels
        for c in range(C):
            for j in range(KW):
                taps[k] = (slot + c) * line + plan.shifts[j]
                k += 1
        if row - top < H:
            end = k
    return begin, max(begin, end)
