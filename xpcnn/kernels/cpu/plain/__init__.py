"""NumPy substitutes: the batch is last in memory, a block of rows at a time, on all cores. Read these last.

Arrays are (N,C,H,W) to all callers, but a convolution stores its result as (H,C,W,N) and returns a view of it;
NumPy's elementwise functions keep the order they find. `layout` has a drawing and the reason.
"""

from importlib import import_module
from pkgutil import iter_modules

from xpcnn.kernels.cpu import threads
from xpcnn.kernels.cpu.workspace import keep_freed_memory, workspace_bytes, workspace_held
from xpcnn.kernels.registry import registered

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")  # its substitutes register themselves

SUBSTITUTES = registered("plain")

keep_freed_memory()
threads.take_over_from_blas()

WORKSPACE = workspace_held, workspace_bytes
"""Functions that return the bytes it holds, and what XPCNN_WORKSPACE allows."""

REMARK = f"the kernels share their work among {threads.count()} threads (XPCNN_THREADS), and hold BLAS to one in each"
