"""CuPy's substitutes: the CUDA kernels on a GPU, compiled by NVRTC when first needed."""

import cupy

from xpcnn.kernels.cuda import substitutes

SUBSTITUTES = substitutes(cupy)
