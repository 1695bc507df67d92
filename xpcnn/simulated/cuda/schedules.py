"""In which order the threads run. A GPU promises none, so a kernel's result must not depend on it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class Run(NamedTuple):
    """One way to run a kernel: the order of its threads, and what shared memory holds at first."""

    schedule: int
    poison: int
    fault: str
    """What is wrong with a kernel whose result is another one than the first run's."""


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


def runs() -> tuple[Run, ...]:
    """Return the runs that every launch is to make: the forward schedule's alone, unless asked for all."""
    return _runs.get()


@contextmanager
def every_schedule() -> Iterator[None]:
    """Inside the ``with`` block every launch runs forward, in reverse and shuffled, and the results must agree.

    With XPCNN_SCHEDULES=every that holds for a whole program.
    """
    token = _runs.set(EVERY)
    try:
        yield
    finally:
        _runs.reset(token)


_most_at_each_end: ContextVar[int] = ContextVar("xpcnn.simulated.most_at_each_end", default=0)


def most_at_each_end() -> int:
    """Return how many blocks run at either end of a grid; 0: all of them."""
    return _most_at_each_end.get()


@contextmanager
def ends_of_grids(blocks: int) -> Iterator[None]:
    """Inside the ``with`` block only so many blocks run at either end of each grid.

    So a kernel can be tried on arrays of more than 2^31 elements, of which most are never touched.
    """
    token = _most_at_each_end.set(blocks)
    try:
        yield
    finally:
        _most_at_each_end.reset(token)
