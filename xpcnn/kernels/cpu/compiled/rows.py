"""The ring of rows that convolution reads: each row of the picture with its padding, ready for any tap.

In a slot of the ring a channel is one line, (columns, N) flat, and tap j of a window finds the pixels of all windows of
an output row at one offset in it. With a stride SW across, columns whose number has the same remainder lie together.
"""

from typing import Any, NamedTuple

import numpy as np

from xpcnn.geometry import Pair, Window
from xpcnn.kernels.cpu.compiled.compiler import compiled
from xpcnn.kernels.cpu.compiled.tiles import REGISTER_BYTES, VECTORS
from xpcnn.kernels.cpu.layout import Array
from xpcnn.kernels.cpu.plain.fitting import budget

LINE = 64
"""Bytes of a line of the cache."""


class Plan(NamedTuple):
    """How rows lie in the ring, and where a window meets them: what compiled functions take as one argument."""

    size: Pair
    stride: Pair
    dilation: Pair
    before: Pair
    """Rows and columns of padding above and to the left."""
    N: int
    columns: int
    """Output columns at a time."""
    remainders: Array
    """Of a column's number by SW: those that some tap meets."""
    length: int
    """Columns for each remainder."""
    shifts: Array
    """Where in a line tap j begins, (KW,)."""


def plan(window: Window, before: Pair, OW: int, channel: int, N: int) -> Plan:
    """Lay out lines for output rows of OW columns of a batch of N, of as many columns as a thread's workspace holds.

    `channel` counts the bytes of a pixel of one image in all channels.
    """
    KW, SW, DW = window.size[1], window.stride[1], window.dilation[1]
    met = [j * DW % SW for j in range(KW)]
    remainders, reach = sorted(set(met)), (KW - 1) * DW // SW
    column = window.extent[0] * len(remainders) * max(N * channel, 1)
    fitting = max(budget() // column - reach, 1)
    columns = -(-OW // -(-OW // fitting))  # in equal pieces
    length = columns + reach
    shifts = [(remainders.index(r) * length + j * DW // SW) * N for j, r in enumerate(met)]
    return Plan(
        window.size, window.stride, window.dilation, before, N, columns,
        np.array(remainders), length, np.array(shifts),
    )  # fmt: skip


def ring_shape(plan: Plan, C: int, itemsize: int) -> tuple[int, int, int]:
    """Return (rows, C, line): as many rows as a window spans, and room for a tile to look beyond the last column."""
    rows = (plan.size[0] - 1) * plan.dilation[0] + 1
    slack = max(VECTORS.values()) * REGISTER_BYTES
    lines = -(-(len(plan.remainders) * plan.length * plan.N * itemsize + slack) // LINE)
    return rows, C, (lines | 1) * LINE // itemsize  # an odd number: all lines of the cache serve all channels


@compiled
def copy_row(ring: Any, row: int, x: Any, first: int, plan: Any) -> None:
    """Copy row `row` of the padded (H,C,W*N), as output columns from `first` on meet it, to its slot.

    What lies outside the image is zero.
    """
    H, C, WN = x.shape
    N, SW, (top, left) = plan.N, plan.stride[1], plan.before
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
        line[at:] = 0  # beside a zero of dy even a NaN that was left here would count


@compiled
def fill_ring(ring: Any, done: int, oh: int, x: Any, first: int, plan: Any) -> Any:
    """Copy the rows that output row `oh` meets, of which all before `done` lie in the ring; return the new `done`."""
    start = oh * plan.stride[0]
    stop = start + len(ring)
    for row in range(max(done, start), stop):
        copy_row(ring, row, x, first, plan)
    return stop


@compiled
def find_taps(taps: Any, ring: Any, oh: int, H: int, C: int, plan: Any) -> Any:
    """Set `taps` to the offset of every (i, c, j), and return from and to which of them the rows lie in the image."""
    (KH, KW), SH, DH, top = plan.size, plan.stride[0], plan.dilation[0], plan.before[0]
    rows, channels, line = ring.shape
    begin = end = k = 0
    for i in range(KH):
        row = oh * SH + i * DH
        if row < top:
            begin = k + C * KW
        slot = row % rows * channels
        for c in range(C):
            for j in range(KW):
                taps[k] = (slot + c) * line + plan.shifts[j]
                k += 1
        if row - top < H:
            end = k
    return begin, max(begin, end)
