"""How these kernels are compiled: without the interpreter lock, once, and kept on disk.

Threads come from `xpcnn.kernels.cpu.threads`: while a compiled function runs it does not hold the lock, so two
of them run side by side.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from xpcnn.kernels.cpu.compiled.kept import Kept

FLAGS = {"contract", "reassoc", "nsz"}
"""a * b + c in one instruction, sums in any order, -0 as good as 0. Not "nnan" nor "ninf": a NaN must stay one."""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function for each type that it is called with, when it is first called so.

    The machine code is kept in the user's cache, or in NUMBA_CACHE_DIR, and checked before it runs (`kept`). Where
    neither can be written to, or others may write there, it is compiled in every process anew.
    """
    dispatcher: Any = numba.njit(nogil=True, fastmath=FLAGS, error_model="numpy")(function)
    dispatcher._cache = Kept(function)
    made: Callable[..., Any] = dispatcher
    return made


def compilable(*arrays: Any) -> bool:
    """Tell whether arrays are all float32 or all float64, in this machine's byte order."""
    return arrays[0].dtype in (np.float32, np.float64) and all(a.dtype == arrays[0].dtype for a in arrays)
