"""NumPy's substitutes; `xpcnn.kernels.load` puts those of `xpcnn.kernels.cpu.compiled` in their place."""

from xpcnn.kernels.cpu.plain import REMARK, SUBSTITUTES, WORKSPACE

__all__ = [
    "REMARK",
    "SUBSTITUTES",
    "WORKSPACE",
]
