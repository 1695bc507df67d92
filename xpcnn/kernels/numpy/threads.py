"""Several threads, each with a range of rows: NumPy lets go of the interpreter lock while it computes.

BLAS's own threads would be in the way: between two products they wait in a busy loop, on the cores that these
threads need. So when the kernels are loaded BLAS is held to one thread, in the whole process, and as many
threads as it had (OPENBLAS_NUM_THREADS, threadpoolctl), or XPCNN_THREADS, are used here instead.
"""

import os
import threading
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from xpcnn.errors import BackendError

WORTHWHILE = 1 << 18
"""Work from which a second thread saves more than the 50 microseconds or so that waking it costs."""

_threads = 1
_workers: list["_Worker"] = []
_free = threading.Lock()
"""Held while the workers have something to do: who comes then, from another thread, does all by itself."""


class _Worker(threading.Thread):
    """A thread that sleeps until it is given something: two bare locks, which cost half of what a Future does."""

    def __init__(self) -> None:
        super().__init__(name="xpcnn", daemon=True)
        self._given, self._done = threading.Lock(), threading.Lock()
        self._given.acquire()
        self._done.acquire()
        self._error: BaseException | None = None
        self.start()

    def give(self, function: Callable[[int, int], None], start: int, stop: int) -> None:
        self._work = function, start, stop, np.geterr()  # the caller's np.seterr, which is a thread's own
        self._given.release()

    def wait(self) -> BaseException | None:
        self._done.acquire()
        error, self._error = self._error, None
        return error

    def run(self) -> None:
        while True:
            self._given.acquire()
            function, start, stop, errors = self._work
            try:
                with np.errstate(**errors):
                    function(start, stop)
            except BaseException as error:  # is the caller's to see
                self._error = error
            del self._work, function  # and with it the arrays that it has seen
            self._done.release()


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


def share(length: int, start: int, stop: int) -> slice:
    """Return what the shares from `start` to `stop`, of count() equal ones, are of range(length)."""
    return slice(length * start // count(), length * stop // count())


def in_parallel(function: Callable[[int, int], None], length: int, work: int = 0, products: int = 0) -> None:
    """Call ``function(start, stop)`` on ranges that make up ``range(length)``, one a thread.

    `work` counts array elements touched, and `products` multiply-adds, of which BLAS does sixteen in the time of one
    element; little work is done by the calling thread alone.
    """
    threads = min(count(), length) if work + products // 16 >= WORTHWHILE else 1
    if threads <= 1 or not _free.acquire(blocking=False):
        function(0, length)
        return
    try:
        while len(_workers) < threads - 1:
            _workers.append(_Worker())
        bounds = [length * i // threads for i in range(threads + 1)]
        given = _workers[: threads - 1]
        for worker, (start, stop) in zip(given, pairwise(bounds[1:]), strict=True):
            worker.give(function, start, stop)
        try:
            function(bounds[0], bounds[1])
        finally:
            errors = [worker.wait() for worker in given]
        for error in errors:
            if error is not None:
                raise error
    except KeyboardInterrupt:
        _workers.clear()  # one may be at work still; others take its place
        raise
    finally:
        _free.release()


def _forget_workers() -> None:
    global _free
    _free = threading.Lock()
    _workers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)  # a forked child has no threads
