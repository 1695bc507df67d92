"""The simulated device's substitutes: the same CUDA kernels, compiled for the CPU when first needed."""

from collections.abc import Callable
from typing import Any

from xpcnn.errors import KernelError
from xpcnn.kernels.cuda import substitutes
from xpcnn.simulated import stand_in
from xpcnn.simulated.cuda import why_not
from xpcnn.simulated.cuda.build import remark


def __getattr__(name: str) -> dict[str, Callable[..., Any]] | str:
    """Make SUBSTITUTES and REMARK when asked for: the module itself imports without a compiler."""
    if name == "REMARK":
        return remark()
    if name != "SUBSTITUTES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if reason := why_not():
        raise KernelError(reason)
    return substitutes(stand_in)
