"""Several threads, each with a range of rows: NumPy releases the interpreter lock while it computes.

    in_parallel    range(length)   | caller      | worker 1    | worker 2    |      one range a thread
    in_turn        tasks           | 0 | 1 | 2 | 3 | 4 | 5 | 6 |                    a free thread takes the next task

BLAS's own threads would be in the way: between two products they wait in a busy loop, on the cores that these
threads need. So when the kernels are loaded, BLAS is held to one thread in the whole process, and as many
threads as it had (OPENBLAS_NUM_THREADS, threadpoolctl), or XPCNN_THREADS, are used here instead.

No result depends on the number of threads: see `shares`. Import this module, not its functions by name: a test
replaces `count` and `WORTHWHILE` here, and would not reach a copy of the name.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from queue import SimpleQueue

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from xpcnn.errors import BackendError

WORTHWHILE = 1 << 18
"""Work from which a second thread saves more than the 50 microseconds or so that waking it costs."""

_threads = 1
_workers: list["_Worker"] = []
_free = threading.Lock()
"""Held while the workers are busy: a call from another thread, or from within a task, then runs alone."""


class _Job:
    """A range that one worker computes, and the exception that it raised."""

    def __init__(self, function: Callable[[int, int], None], start: int, stop: int) -> None:
        self._function, self._start, self._stop = function, start, stop
        self._errors = np.geterr()  # the caller's np.seterr, which each thread has for itself
        self.error: BaseException | None = None
        self._ended, self._end = False, threading.Lock()
        self._end.acquire()

    def run(self) -> None:
        try:
            with np.errstate(**self._errors):
                self._function(self._start, self._stop)
        except BaseException as error:  # the caller raises it
            self.error = error
        self._ended = True
        self._end.release()

    def wait(self) -> None:
        while not self._ended:  # also where Ctrl-C was raised just after the lock was taken
            self._end.acquire()


_jobs: SimpleQueue[_Job] = SimpleQueue()
"""The jobs that the workers take next. All workers take from here, so none is lost when a caller is interrupted."""


class _Worker(threading.Thread):
    """A thread that sleeps until there is a job."""

    def __init__(self) -> None:
        super().__init__(name="xpcnn", daemon=True)

    def run(self) -> None:
        while True:
            job = _jobs.get()
            job.run()
            del job  # and the arrays that it refers to


def take_over_from_blas() -> None:
    """Hold BLAS to one thread, and use its number of threads, or XPCNN_THREADS, here.

    Raises
    ------
    BackendError
        If XPCNN_THREADS is not a whole number from 1 up.
    """
    global _threads
    asked = os.environ.get("XPCNN_THREADS")
    if asked and not (asked.isdecimal() and int(asked)):
        raise BackendError(
            f"XPCNN_THREADS={asked!r}: expected a whole number from 1 up; set it to the cores to use"
        )
    blas = ThreadpoolController().select(user_api="blas")
    of_blas = max((library.num_threads for library in blas.lib_controllers), default=1)
    _threads = int(asked) if asked else of_blas
    blas.limit(limits=1)


def count() -> int:
    """Return the number of threads."""
    return _threads


def worthwhile(work: int = 0, products: int = 0) -> bool:
    """Tell whether a second thread saves time.

    `work` counts array elements that are read or written, and `products` multiply-adds, of which BLAS does sixteen in
    the time of one element.
    """
    return work + products // 16 >= WORTHWHILE


def in_parallel(function: Callable[[int, int], None], length: int, work: int = 0, products: int = 0) -> None:
    """Call ``function(start, stop)`` on ranges that make up ``range(length)``, one a thread.

    Little work is done by the calling thread alone: see `worthwhile`. The result for a number of the range must not
    depend on the range, which is another one with another number of threads.
    """
    threads = min(count(), length) if worthwhile(work, products) else 1
    if threads <= 1 or _free.locked():
        function(0, length)
        return
    with _free:
        _start_workers(threads - 1)
        bounds = [length * i // threads for i in range(threads + 1)]
        given: list[_Job] = []
        try:
            for start, stop in pairwise(bounds[1:]):
                job = _Job(function, start, stop)
                _jobs.put(job)
                given.append(job)
            function(bounds[0], bounds[1])
        finally:  # after Ctrl-C, too: nothing writes to the caller's arrays once this has returned
            _wait(given)
        for job in given:
            if job.error is not None:
                raise job.error


def _wait(jobs: Sequence[_Job]) -> None:
    """Return when all have run; an exception that arrives meanwhile (Ctrl-C) is raised then, a second one at once."""
    try:
        for job in jobs:
            job.wait()
    except BaseException:
        for job in jobs:
            job.wait()
        raise


def in_turn(tasks: Sequence[Callable[[], None]], work: int = 0, products: int = 0) -> None:
    """Call every task once; a thread that is free takes the next one."""
    left = deque(tasks)

    def take_tasks(start: int, stop: int) -> None:
        while True:
            try:
                task = left.popleft()
            except IndexError:
                return
            task()

    in_parallel(take_tasks, len(tasks), work, products)


def _start_workers(number: int) -> None:
    """Start workers until there are so many."""
    if len(_workers) < number:
        # among them one whose start was interrupted before it was noted here
        _workers[:] = [thread for thread in threading.enumerate() if isinstance(thread, _Worker)]
    while len(_workers) < number:
        worker = _Worker()
        worker.start()
        _workers.append(worker)


def _forget_workers() -> None:
    global _free, _jobs
    _free, _jobs = threading.Lock(), SimpleQueue()
    _workers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)  # a forked child has no threads
