"""CuPy's substitutes: the CUDA kernels on a GPU of NVIDIA's, compiled by NVRTC when first needed."""

import cupy

from xpcnn.kernels.cuda import substitutes

SUBSTITUTES = {} if cupy.cuda.runtime.is_hip else substitutes(cupy)
"""None on AMD's GPUs, whose warps have 64 lanes: there the textbook's ops run."""
