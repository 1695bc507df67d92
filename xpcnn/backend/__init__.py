"""Which machine computes: `xp` is NumPy or CuPy, chosen when the program starts or with one call.

`np` always means the host, `xp` the active device; arrays cross between the two in `to_device` and
`to_host` only. The active backend belongs to its context: every thread and every asyncio task has its own. One that
chose none computes on the process's default, which `set_backend` sets and which the environment variable XPCNN_BACKEND
(default "numpy") is until then. XPCNN_KERNELS=reference turns every substitute kernel off, "pure" what Numba compiles.
"""

from xpcnn.backend import _openers as _openers
from xpcnn.backend._arrays import check_array, synchronize, to_device, to_host
from xpcnn.backend._current import Substitutable, accelerated, active_backend, set_backend, use_backend, xp
from xpcnn.backend._registry import NAMES, Array, Backend, Opener, is_backend, register_backend

__all__ = [
    "NAMES",
    "Array",
    "Backend",
    "Opener",
    "Substitutable",
    "accelerated",
    "active_backend",
    "check_array",
    "is_backend",
    "register_backend",
    "set_backend",
    "synchronize",
    "to_device",
    "to_host",
    "use_backend",
    "xp",
]


def __dir__() -> list[str]:
    return __all__
