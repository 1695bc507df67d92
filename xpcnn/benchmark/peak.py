"""How fast this machine multiplies matrices: what a network's operations a second are measured against."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from xpcnn.backend import active_backend, synchronize, to_device, xp
from xpcnn.benchmark.machine import threads
from xpcnn.benchmark.phases import Clock

SMALLEST, LARGEST = 512, 8192
LONG_ENOUGH = 0.02
"""Seconds of a product from which a larger one is no faster."""

REPEATS = 5


def product_peak(clock: Clock = time.perf_counter, largest: int = LARGEST) -> float:
    """Return 10^9 operations a second of the best of several products of square float32 matrices.

    A product of side n takes 2 n^3 operations; the sides are doubled until a product is long. On the CPU every thread
    has a product of its own and a BLAS of one thread, as in the kernels: no thread ever waits for another.
    """
    streams = 1 if active_backend().asynchronous else threads()
    best, side, seconds = 0.0, SMALLEST, 0.0
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(streams) as pool:
        while side <= largest and seconds < LONG_ENOUGH:
            multiply = [_product(side, seed) for seed in range(streams)]
            for _ in range(REPEATS):
                begin = clock()
                for done in [pool.submit(copy_context().run, one) for one in multiply]:  # on this backend
                    done.result()
                synchronize()
                seconds = clock() - begin
                best = max(best, streams * 2 * side**3 / seconds / 1e9)
            side *= 2
    return best


def _product(side: int, seed: int) -> Callable[[], Any]:
    """Return a function that multiplies two matrices into a third, all made before."""
    rng = np.random.default_rng(seed)
    a, b = (to_device(rng.standard_normal((side, side), np.float32)) for _ in range(2))
    y = xp.matmul(a, b)
    synchronize()
    return lambda: xp.matmul(a, b, out=y)
