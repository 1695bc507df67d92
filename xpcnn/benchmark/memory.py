"""How much memory one training step takes at its peak, above what was there before it.

What is there before: the program, weights, gradients, the optimizer's state, and one batch on the host. The step is the
first of its process, so it also pays for what is made once and kept, such as the kernels' workspaces.

On Linux what the C library keeps of freed memory is given back to the system, and the kernel's high-water mark of the
process (VmHWM) is set back, before the step. On macOS, and where Linux
does not allow that, the mark of the whole process so far (getrusage) is read before and after, and a step that stays
below what the start needed shows as 0. On Windows nothing is measured. On a GPU it is the growth of CuPy's memory pool.
"""

import contextlib
import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from xpcnn.backend import active_backend, synchronize

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class Memory(NamedTuple):
    """Bytes at the peak above the start, or None where they cannot be told, and how they were read."""

    bytes: int | None
    how: str


def peak_of(step: Callable[[], object]) -> Memory:
    """Call `step` once, and tell how far its memory rose."""
    pool = getattr(active_backend().module, "get_default_memory_pool", None)
    if pool is not None:
        return _of_pool(step, pool())
    if (start := _start_on_linux()) is not None:
        step()
        return Memory(_status("VmHWM") - start, "VmHWM, set back before it")
    try:
        import resource
    except ModuleNotFoundError:
        step()
        return Memory(None, "not measured on this system")
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Memory((after - before) * unit, "getrusage: above the largest so far")


def _of_pool(step: Callable[[], object], pool: object) -> Memory:
    """CuPy's pool keeps what is freed, so its growth is the peak, once it has given back what it kept."""
    synchronize()
    pool.free_all_blocks()  # type: ignore[attr-defined]
    before = pool.total_bytes()  # type: ignore[attr-defined]
    step()
    synchronize()
    return Memory(pool.total_bytes() - before, "the pool of the device")  # type: ignore[attr-defined]


def _start_on_linux() -> int | None:
    """Set the high-water mark back to what the process holds now, and return that; None where it cannot be."""
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
