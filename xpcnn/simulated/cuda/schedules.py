"""The order in which threads run. A GPU promises none, so a kernel's result must not depend on it."""

import os
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import NamedTuple

from xpcnn.simulated.events import during


class Run(NamedTuple):
    """One way to run a kernel: the order of its threads, and the first content of shared memory."""

    schedule: int
    poison: int
    fault: str  # of a kernel whose result differs from the first run's


NAN, NUMBER = 0xFF, 0x3F
"""Bytes of poison: as floats they read NaN and 0.747, so that neither a sum nor a maximum hides them."""

RACE = "a race: the result depends on the order of the threads; is a __syncthreads() missing?"

FORWARD = Run(0, NAN, "")
EVERY = (
    FORWARD,
    Run(0, NUMBER, "the result depends on shared memory that no thread wrote"),
    Run(1, NAN, RACE),
    Run(2, NAN, RACE),
)

_runs: ContextVar[tuple[Run, ...]] = ContextVar(
    "xpcnn.simulated.runs", default=EVERY if os.environ.get("XPCNN_SCHEDULES") == "every" else (FORWARD,)
)
_most_at_each_end: ContextVar[int] = ContextVar("xpcnn.simulated.most_at_each_end", default=0)


def runs() -> tuple[Run, ...]:
    """Return the runs of every launch: forward alone, unless `every_schedule` is active."""
    return _runs.get()


def every_schedule() -> AbstractContextManager[None]:
    """Inside the ``with`` block every launch runs forward, in reverse and shuffled, and the results must agree.

    With XPCNN_SCHEDULES=every that holds for a whole program.
    """
    return during(_runs, EVERY)


def most_at_each_end() -> int:
    """Return how many blocks run at either end of a grid; 0: all of them."""
    return _most_at_each_end.get()


def ends_of_grids(blocks: int) -> AbstractContextManager[None]:
    """Inside the ``with`` block only so many blocks run at either end of each grid.

    So a kernel can be tried on arrays of more than 2^31 elements, most of which are never touched.
    """
    return during(_most_at_each_end, blocks)
