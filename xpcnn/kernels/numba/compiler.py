"""How these kernels are compiled: without the interpreter lock, once, and kept on disk.

Threads come from `xpcnn.kernels.numpy.threads`: while a compiled function runs it does not hold the lock, so two
of them run side by side.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np

FLAGS = {"contract", "reassoc", "nsz"}
"""a * b + c in one instruction, sums in any order, -0 as good as 0. Not "nnan" nor "ninf": a NaN must stay one."""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function for each type that it is called with, when it is first called so.

    Numba keeps the machine code beside the source, else in the user's cache, or in NUMBA_CACHE_DIR. Where all of
    these are read-only it is compiled in every process anew.
    """
    options: dict[str, Any] = {"nogil": True, "fastmath": FLAGS, "error_model": "numpy"}
    try:
        dispatcher = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no place to keep it
        dispatcher = numba.njit(**options)(function)
    with suppress(AttributeError):
        # Numba looks at the file of the function only, and would keep what another file's change has made stale.
        dispatcher._cache._cache_file._source_stamp = _sources()
    made: Callable[..., Any] = dispatcher
    return made


@cache
def _sources() -> tuple[tuple[str, int, int], ...]:
    """Return name, time and size of every file here: machine code of one holds that of others."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)


def compilable(*arrays: Any) -> bool:
    """Tell whether arrays are all float32 or all float64, in this machine's byte order."""
    return arrays[0].dtype in (np.float32, np.float64) and all(a.dtype == arrays[0].dtype for a in arrays)
