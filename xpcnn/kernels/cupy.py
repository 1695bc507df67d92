"""CuPy's substitutes: the CUDA kernels on a GPU of NVIDIA's, compiled by NVRTC when first needed."""

from collections.abc import Callable
from typing import Any

from xpcnn.kernels.cuda import substitutes


def __getattr__(name: str) -> dict[str, Callable[..., Any]]:
    """Make SUBSTITUTES when asked for: the module itself imports without CuPy."""
    if name != "SUBSTITUTES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import cupy

    # none on AMD's GPUs, whose warps have 64 lanes: there the textbook's ops run
    return {} if cupy.cuda.runtime.is_hip else substitutes(cupy)
