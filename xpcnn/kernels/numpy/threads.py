"""Several threads, each with a range of rows: NumPy lets go of the interpreter lock while it computes.

BLAS's own threads would be in the way: between two products they wait in a busy loop, on the cores that these
threads need. So when the kernels are loaded BLAS is held to one thread, in the whole process, and as many
threads as it had (OPENBLAS_NUM_THREADS, threadpoolctl), or XPCNN_THREADS, are used here instead.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from xpcnn.errors import BackendError

WORTHWHILE = 1 << 18
"""Work from which a second thread saves more than the 50 microseconds or so that waking it costs."""

_threads = 1
_pool: ThreadPoolExecutor | None = None


def take_over_from_blas() -> None:
    """Hold BLAS to one thread, and have its threads, or XPCNN_THREADS, here.

    Raises
    ------
    BackendError
        If XPCNN_THREADS is no whole number from 1 up.
    """
    global _threads
    asked = os.environ.get("XPCNN_THREADS")
    if asked and not (asked.isdecimal() and int(asked)):
        raise BackendError(
            f"XPCNN_THREADS={asked!r}: expected a whole number from 1 up; set it to the cores to use"
        )
    blas = ThreadpoolController().select(user_api="blas")
    _threads = (
        int(asked) if asked else max((library.num_threads for library in blas.lib_controllers), default=1)
    )
    blas.limit(limits=1)


def count() -> int:
    """Return how many threads there are."""
    return _threads


def in_parallel(function: Callable[[int, int], None], length: int, work: int) -> None:
    """Call ``function(start, stop)`` on ranges that make up ``range(length)``, one a thread.

    `work` counts array elements touched, or multiply-adds; little of it is done by the calling thread alone.
    """
    global _pool
    threads = min(count(), length) if work >= WORTHWHILE else 1
    if threads <= 1:
        function(0, length)
        return
    if _pool is None:
        _pool = ThreadPoolExecutor(count(), "xpcnn")
    bounds = [length * i // threads for i in range(threads + 1)]
    others = [
        _pool.submit(_heeding, np.geterr(), function, start, stop) for start, stop in pairwise(bounds[1:])
    ]
    function(bounds[0], bounds[1])
    for other in others:
        other.result()


def _heeding(errors: Any, function: Callable[[int, int], None], start: int, stop: int) -> None:
    """Call function with the caller's np.seterr, which is a thread's own."""
    with np.errstate(**errors):
        function(start, stop)


def _forget_pool() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)  # a forked child has no threads
