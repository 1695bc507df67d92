"""Which pixels the taps of a window read along one axis of the image, and which of them are padding: integers only.

a row of W = 6 pixels, and tap j of windows q = 0 .. 3 with stride SW = 2, whose window 0 reads pixel -2:

    pixel    -2  -1 | 0   1   2   3   4   5 |
    window    0       1       2       3           windows slice(1, 4) read pixels slice(0, 5, 2); 0 reads padding
"""

from functools import cache
from typing import NamedTuple


class Tap(NamedTuple):
    """Which of the windows read a pixel of the image at this tap, and which pixels they are."""

    windows: slice
    pixels: slice
    gaps: list[slice]
    """The windows that read padding."""


@cache
def taps_along_width(W: int, KW: int, SW: int, DW: int, first: int, Q: int) -> list[Tap]:
    """Return the KW taps of Q windows along a row of W pixels; tap 0 of window 0 reads pixel `first`."""
    taps = []
    for j in range(KW):
        pixels, windows = overlap(first + j * DW, SW, Q, W)
        gaps = [gap for gap in (slice(0, windows.start), slice(windows.stop, Q)) if gap.start < gap.stop]
        taps.append(Tap(windows, pixels, gaps))
    return taps


def overlap(first: int, step: int, count: int, length: int) -> tuple[slice, slice]:
    """Of the positions first, first + step, ..., `count` of them, return those in range(length), and their numbers."""
    start = min(max(-(-(0 - first) // step), 0), count)
    stop = max(min(-(-(length - first) // step), count), start)
    low = first + start * step
    high = max(low + (stop - start - 1) * step + 1, low) if stop > start else low
    return slice(low, high, step), slice(start, stop)
