"""Numba's substitutes, which take the place of NumPy's where the extra [fast] is installed. Read these last.

The memory order and the threads are those of `xpcnn.kernels.cpu.plain`; what has no kernel here keeps that one. A
kernel here makes one pass over memory where NumPy makes several, and a convolution keeps its sums in registers.
"""

import numba
import numpy as np

from xpcnn.geometry import Window
from xpcnn.kernels.cpu.compiled.conv import conv, conv_backward
from xpcnn.kernels.cpu.compiled.elementwise import adam_update, momentum_update, relu, relu_backward
from xpcnn.kernels.cpu.compiled.normalization import batch_norm, batch_norm_backward, batch_statistics
from xpcnn.kernels.cpu.compiled.pooling import max_pool, max_pool_backward
from xpcnn.kernels.precision import in_single

SUBSTITUTES = {
    op.__name__: in_single(op)
    for op in (
        adam_update, batch_norm, batch_norm_backward, conv, conv_backward, max_pool, max_pool_backward,
        momentum_update, relu, relu_backward,
    )
} | {"batch_statistics": batch_statistics}  # fmt: skip

REMARK = f"Numba {numba.__version__} compiles most of them (XPCNN_KERNELS=pure: none)"


def probe() -> None:
    """Raise what keeps Numba from compiling a convolution here, if anything does; the next one finds it compiled."""
    image, filters = np.ones((1, 1, 1, 4), np.float32), np.full((4, 1, 1, 2), 2, np.float32)
    if conv(image, filters, None, Window((1, 2))).tolist() != [[[[4, 4, 4]]] * 4]:
        raise ArithmeticError("a convolution of ones came out wrong")
