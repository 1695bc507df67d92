"""How these kernels are compiled: once, kept on disk, and without the interpreter lock.

So two compiled functions run at the same time, on threads of `xpcnn.kernels.cpu.threads`.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from xpcnn.kernels.cpu.compiled.kept import Kept

FLAGS = {"contract", "reassoc", "nsz"}
"""a * b + c in one instruction, sums in any order, -0 as good as 0. Not "nnan" nor "ninf": a NaN must stay one."""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function for each combination of types, at the first call with them.

    The machine code is kept in the user's cache, or in NUMBA_CACHE_DIR, and checked before it runs (`kept`). Where
    neither can be written to, or others may write there, each process compiles it again.
    """
    dispatcher: Any = numba.njit(nogil=True, fastmath=FLAGS, error_model="numpy")(function)
    dispatcher._cache = Kept(function)
    made: Callable[..., Any] = dispatcher
    return made


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function in the place of each call of it: an inner loop that has a name, without the cost of a call."""
    made: Callable[..., Any] = numba.njit(inline="always")(function)
    return made


def compilable(*arrays: Any) -> bool:
    """Tell whether arrays are all float32 or all float64, in this machine's byte order."""
    return arrays[0].dtype in (np.float32, np.float64) and all(a.dtype == arrays[0].dtype for a in arrays)
