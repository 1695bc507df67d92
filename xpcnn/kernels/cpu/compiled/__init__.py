"""Numba's substitutes, which take the place of NumPy's where the extra [fast] is installed. Read these last.

The memory order and the threads are those of `xpcnn.kernels.cpu.plain`; an op without a kernel here keeps that one. A
kernel here makes one pass over memory where NumPy makes several, and a convolution keeps its sums in registers.
"""

from importlib import import_module
from pkgutil import iter_modules

import numba
import numpy as np

from xpcnn.geometry import Window
from xpcnn.kernels.registry import registered

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")  # its substitutes register themselves

SUBSTITUTES = registered("compiled")

REMARK = f"Numba {numba.__version__} compiles most of them (XPCNN_KERNELS=pure: none)"


def probe() -> None:
    """Raise what keeps Numba from compiling a convolution here, if anything does; the next one finds it compiled."""
    image, filters = np.ones((1, 1, 1, 4), np.float32), np.full((4, 1, 1, 2), 2, np.float32)
    if SUBSTITUTES["conv"](image, filters, None, Window((1, 2))).tolist() != [[[[4, 4, 4]]] * 4]:
        raise ArithmeticError("a convolution of ones came out wrong")
