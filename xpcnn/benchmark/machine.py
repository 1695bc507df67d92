"""What a time depends on, and how fast this machine multiplies matrices."""

import contextlib
import datetime
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from xpcnn.backend import active_backend, synchronize, to_device, xp

SMALLEST, LARGEST = 512, 8192
"""Sides of the matrices that are multiplied."""

LONG_ENOUGH, REPEATS = 0.02, 5
"""Seconds of a product from which a larger one is no faster; how often each is computed."""


def machine() -> dict[str, str]:
    """Return what a time depends on: processor, GPU, BLAS and its threads, versions, backend, kernels; and the day."""
    backend = active_backend()
    gpus = "; ".join(text for _, text in gpu_rows(backend.module))
    return {
        "cpu": host_row()[1],
        **({"gpu": gpus} if gpus else {}),
        "blas": "; ".join(text for _, text in blas_rows(threadpool_info())),
        **({"threads": backend.remark} if backend.remark else {}),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "backend": backend.name,
        "kernels": ", ".join(sorted(backend.kernels)) or "reference",
        "date": datetime.date.today().isoformat(),
    }


def gpu_rows(module: Any) -> list[tuple[str, str]]:
    """Return a row for every GPU that an array module sees; none for one without ``cuda``, such as NumPy."""
    rows: list[tuple[str, str]] = []
    runtime: Any = module.cuda.runtime if hasattr(module, "cuda") else None
    for index in range(runtime.getDeviceCount() if runtime else 0):
        free, total = module.cuda.Device(index).mem_info
        name = runtime.getDeviceProperties(index)["name"].decode()
        rows.append((f"gpu {index}", f"{name}, {_gib(total)} of memory, {_gib(free)} free"))
    return rows


def host_row() -> tuple[str, str]:
    """Return the processor, the cores that this process may use, and the machine's memory."""
    count = cores()
    known = [cpu_model(), f"{count} core{'s' * (count != 1)}"]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        known.append(f"{_gib(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'))} of memory")
    return "cpu", ", ".join(known)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name where the system tells it easily, else its architecture."""
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def blas_rows(libraries: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return name, version and threads of each BLAS among what threadpoolctl sees."""
    rows: list[tuple[str, str]] = []
    for library in libraries:
        if library["user_api"] == "blas":
            name, threads = (
                f"{library['internal_api']} {library['version'] or ''}".strip(),
                library["num_threads"],
            )
            tuned = f", for {library['architecture']}" if library.get("architecture") else ""
            rows.append(("blas", f"{name}, {threads} thread{'s' * (threads != 1)}{tuned}"))
    return rows or [("blas", "one that threadpoolctl does not know (Accelerate on macOS, for instance)")]


def load() -> float | None:
    """Return how many programs wanted a core in the last minute, on average; None on Windows."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def threads() -> int:
    """Return XPCNN_THREADS, or, where it is not set, the cores that this process may use."""
    asked = os.environ.get("XPCNN_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else cores()


def product_peak(clock: Callable[[], float] = time.perf_counter, largest: int = LARGEST) -> float:
    """Return 10^9 operations a second of the best of several products of square float32 matrices.

    A product of side n takes 2 n^3 operations; the sides are doubled until a product takes LONG_ENOUGH. On the CPU
    every thread has a product of its own and a BLAS of one thread, as in the kernels.
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
    """Return a function that multiplies two matrices into a third, all allocated before."""
    rng = np.random.default_rng(seed)
    a, b = (to_device(rng.standard_normal((side, side), np.float32)) for _ in range(2))
    y = xp.matmul(a, b)
    synchronize()
    return lambda: xp.matmul(a, b, out=y)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
