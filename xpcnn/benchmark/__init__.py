"""How long a training step takes, part by part, and how fast that is in operations a second.

Contenders that are compared are processes of their own, asked in turn: see `contest`.
"""

from xpcnn.benchmark.machine import machine
from xpcnn.benchmark.phases import PHASES, Training, operations, time_steps
from xpcnn.benchmark.timing import Timing, timing_table, timings

__all__ = ["PHASES", "Timing", "Training", "machine", "operations", "time_steps", "timing_table", "timings"]
