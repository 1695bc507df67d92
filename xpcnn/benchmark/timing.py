"""From seconds to a table: medians, their spread, shares, operations a second."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from xpcnn._table import text_table
from xpcnn.benchmark.phases import PHASES


class Timing(NamedTuple):
    """One phase over all steps: median and percentiles, its share of the time, operations in a step."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    share: float
    operations: int

    @property
    def gflops(self) -> float:
        """Return 10^9 operations a second, in the median."""
        return self.operations / self.median_ms / 1e6


class Ratio(NamedTuple):
    """The median over rounds of one contender's time by another's, and the lowest and highest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def timings(seconds: np.ndarray, counts: Mapping[str, int]) -> dict[str, Timing]:
    """Return the timing of every phase, and of the whole step as "step", from seconds and operations.

    The median of a sum is not the sum of medians, so the phases' medians only nearly add up to the step's.
    """
    columns = {name: seconds[:, column] for column, name in enumerate(PHASES)} | {"step": seconds.sum(axis=1)}
    counts = {**counts, "step": sum(counts.values())}
    return {name: timing(column, float(seconds.sum()), counts[name]) for name, column in columns.items()}


def timing(seconds: np.ndarray, total: float, operations: int = 0) -> Timing:
    """Return the timing of something that took `seconds`, one a step, of `total` seconds in all."""
    p10, median, p90 = (float(value) for value in np.percentile(seconds * 1e3, (10, 50, 90)))
    return Timing(median, p10, p90, float(seconds.sum()) / total, operations)


def spread(values: np.ndarray) -> float:
    """Return (p90 - p10) / median: how far apart the middle eight of ten values are.

    >>> spread(np.array([10.0, 10.0, 10.0, 10.0, 20.0]))
    0.6
    """
    p10, median, p90 = np.percentile(values, (10, 50, 90))
    return float((p90 - p10) / median)


def ratio(ours: np.ndarray, theirs: np.ndarray) -> Ratio:
    """Compare two contenders by their medians of each round.

    >>> print(ratio(np.array([1.0, 2.0, 2.2]), np.array([2.0, 4.0, 4.0])))
    0.50 (0.50 to 0.55)
    """
    each = ours / theirs
    return Ratio(float(np.median(each)), float(each.min()), float(each.max()))


def timing_table(table: Mapping[str, Timing], peak: float) -> str:
    """Lay out the result of `timings`, with the share of `peak`, in GFLOP/s, that each phase reached.

    >>> table = {"forward": Timing(2.0, 1.5, 3.0, 0.5, 4_000_000), "update": Timing(2.0, 2.0, 2.0, 0.5, 0)}
    >>> print(timing_table(table, peak=8.0))
    phase    median ms    10% to 90%  share  GFLOP/s  of peak
    ---------------------------------------------------------
    forward       2.00  1.50 to 3.00  50.0%      2.0      25%
    update        2.00  2.00 to 2.00  50.0%        .        .
    """
    rows = [("phase", "median ms", "10% to 90%", "share", "GFLOP/s", "of peak")]
    for name, row in table.items():
        speed = (f"{row.gflops:.1f}", f"{row.gflops / peak:.0%}") if row.operations else (".", ".")
        rows.append(
            (
                name,
                f"{row.median_ms:.2f}",
                f"{row.p10_ms:.2f} to {row.p90_ms:.2f}",
                f"{row.share:.1%}",
                *speed,
            )
        )
    return text_table(rows)
