"""From seconds to a table: medians, how far they spread, shares, operations a second."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from xpcnn.benchmark.phases import PHASES
from xpcnn.commands.tables import aligned


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


def timings(seconds: np.ndarray, counts: Mapping[str, int]) -> dict[str, Timing]:
    """Return the timing of every phase, and of the whole step as "step", from `time_steps` and `operations`.

    The median of a sum is not the sum of medians, so the phases' medians only nearly add up to the step's.
    """
    columns = {name: seconds[:, column] for column, name in enumerate(PHASES)} | {"step": seconds.sum(axis=1)}
    counts = {**counts, "step": sum(counts.values())}
    total = float(seconds.sum())
    return {name: timing(column, total, counts[name]) for name, column in columns.items()}


def timing(seconds: np.ndarray, total: float, operations: int = 0) -> Timing:
    """Return the timing of something that took `seconds`, one a step, of `total` seconds in all."""
    p10, median, p90 = (float(value) for value in np.percentile(seconds * 1e3, (10, 50, 90)))
    return Timing(median, p10, p90, float(seconds.sum()) / total, operations)


def spread(values: np.ndarray) -> float:
    """Return (p90 - p10) / median: how far eight of ten values lie apart.

    >>> spread(np.array([10.0, 10.0, 10.0, 10.0, 20.0]))
    0.6
    """
    p10, median, p90 = np.percentile(values, (10, 50, 90))
    return float((p90 - p10) / median)


def timing_table(table: Mapping[str, Timing], peak: float | None = None) -> str:
    """Lay out what `timings` returned; with `peak`, in GFLOP/s, tell what part of it each phase reached.

    >>> table = {"forward": Timing(2.0, 1.5, 3.0, 0.5, 4_000_000), "update": Timing(2.0, 2.0, 2.0, 0.5, 0)}
    >>> print(timing_table(table, peak=8.0))
    phase    median ms  10% to 90%    share  GFLOP/s  of peak
    ---------------------------------------------------------
    forward       2.00  1.50 to 3.00  50.0%      2.0      25%
    update        2.00  2.00 to 2.00  50.0%        .        .
    """
    head = ("phase", "median ms", "10% to 90%", "share", "GFLOP/s", *(["of peak"] if peak else []))
    rows = [
        (name, f"{row.median_ms:.2f}", f"{row.p10_ms:.2f} to {row.p90_ms:.2f}", f"{row.share:.1%}",
         *rate(row, peak))
        for name, row in table.items()
    ]  # fmt: skip
    return aligned([head, *rows])


def rate(row: Timing, peak: float | None = None) -> tuple[str, ...]:
    """Return GFLOP/s, and with `peak` the part of it, as text: dots where nothing is counted."""
    counted = row.operations > 0
    texts = [f"{row.gflops:.1f}" if counted else "."]
    if peak:
        texts.append(f"{row.gflops / peak:.0%}" if counted else ".")
    return tuple(texts)
