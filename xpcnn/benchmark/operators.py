"""A training step op by op: the grain at which a backend puts kernels of its own, so it tells what each is worth."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from xpcnn import ops
from xpcnn.backend import active_backend, synchronize, use_backend
from xpcnn.benchmark.phases import Clock, Training


class Ledger(dict[str, list[float]]):
    """By the name of an op: its calls, and the seconds that they took together."""

    def add(self, name: str, seconds: float) -> None:
        """Count a call."""
        entry = self.setdefault(name, [0, 0.0])
        entry[0] += 1
        entry[1] += seconds


@contextmanager
def timed_operators(clock: Clock = time.perf_counter) -> Iterator[Ledger]:
    """Inside the ``with`` block keep a ledger of all ops, whether the backend runs a kernel of its own or the textbook.

    An op that another one calls, as conv calls im2col in the textbook, is part of that one.
    """
    ledger, inside = Ledger(), [False]

    def watched(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if inside[0]:
                return run(*args, **kwargs)
            synchronize()
            inside[0], begin = True, clock()
            try:
                result = run(*args, **kwargs)
                synchronize()
            finally:
                inside[0] = False
            ledger.add(name, clock() - begin)
            return result

        return call

    backend = active_backend()
    kernels = {
        name: watched(name, backend.kernels.get(name, getattr(ops, name).__wrapped__)) for name in ops.__all__
    }
    with use_backend(replace(backend, kernels=kernels)):
        yield ledger


def time_operators(
    training: Training, steps: int, clock: Clock = time.perf_counter
) -> tuple[dict[str, float], dict[str, float]]:
    """Train for `steps`; return, by op, calls a step, and seconds a step in the median."""
    calls: dict[str, float] = {}
    seconds: dict[str, list[float]] = {}
    with timed_operators(clock) as ledger:
        for _ in range(steps):
            ledger.clear()
            training.step(clock)
            for name, (count, spent) in ledger.items():
                calls[name] = count
                seconds.setdefault(name, []).append(spent)
    return calls, {name: float(np.median(spent)) for name, spent in seconds.items()}
