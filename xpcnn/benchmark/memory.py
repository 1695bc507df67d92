"""How much memory a training step takes at its peak, above what was there before it: docs/benchmark.md says how."""

import contextlib
import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from xpcnn.backend import active_backend, synchronize

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class Memory(NamedTuple):
    """Bytes at the peak above the start, or None where they cannot be read, and how they were read."""

    bytes: int | None
    how: str


def watch_memory() -> Callable[[], Memory]:
    """Begin to watch; the function that is returned says how far memory has risen since.

    On a GPU it is the growth of CuPy's pool. On Linux the process's high-water mark is set back now. Elsewhere it is
    the growth of the largest size so far; on Windows it is None.
    """
    pool = getattr(active_backend().module, "get_default_memory_pool", None)
    if pool is not None:
        return _of_pool(pool())
    if (start := _start_on_linux()) is not None:
        return lambda: Memory(_status("VmHWM") - start, "VmHWM, set back before it")
    try:
        import resource
    except ModuleNotFoundError:
        return lambda: Memory(None, "not measured on this system")
    unit = 1 if sys.platform == "darwin" else 1024

    def largest() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    before = largest()
    return lambda: Memory(largest() - before, "getrusage: above the largest so far")


def _of_pool(pool: object) -> Callable[[], Memory]:
    """CuPy's pool keeps what is freed, so its growth is the peak, once it has given back what it kept."""
    synchronize()
    pool.free_all_blocks()  # type: ignore[attr-defined]
    before = pool.total_bytes()  # type: ignore[attr-defined]

    def risen() -> Memory:
        synchronize()
        return Memory(pool.total_bytes() - before, "the pool of the device")  # type: ignore[attr-defined]

    return risen


def _start_on_linux() -> int | None:
    """Set the high-water mark back to the present size, and return that; None where it cannot be done."""
    with contextlib.suppress(AttributeError, OSError):  # musl and macOS have none
        ctypes.CDLL(None).malloc_trim(0)
    try:
        CLEAR.write_text("5")
        return _status("VmRSS")
    except OSError:
        return None


def _status(name: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS} has no {name}")
