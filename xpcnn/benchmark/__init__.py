"""How long a training step takes, phase by phase, and how near that is to the machine's best.

Contenders that are compared are processes of their own, which take turns: see `contest`.
"""

from xpcnn.benchmark.machine import machine
from xpcnn.benchmark.phases import PHASES, Training, operations
from xpcnn.benchmark.timing import Timing, timing_table, timings

__all__ = ["PHASES", "Timing", "Training", "machine", "operations", "timing_table", "timings"]
