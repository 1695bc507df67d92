"""NumPy substitutes: the batch last in memory, a block of rows at a time, on all cores. Read these last.

Arrays stay (N,C,H,W) to everybody, but a convolution lays its result out as (H,C,W,N) and hands out a view;
NumPy's elementwise functions keep the order they find. See `layout` for why.
"""

from xpcnn.kernels.cpu import threads
from xpcnn.kernels.cpu.plain.affine import affine, affine_backward, flatten
from xpcnn.kernels.cpu.plain.conv import conv, conv_backward
from xpcnn.kernels.cpu.plain.elementwise import adam_update, momentum_update, relu, relu_backward
from xpcnn.kernels.cpu.plain.normalization import batch_norm, batch_norm_backward, batch_statistics
from xpcnn.kernels.cpu.plain.pooling import average_pool, max_pool, max_pool_backward
from xpcnn.kernels.cpu.workspace import keep_freed_memory, workspace_bytes, workspace_held
from xpcnn.kernels.precision import in_single

SUBSTITUTES = {
    op.__name__: in_single(op)
    for op in (
        adam_update, affine, affine_backward, average_pool, batch_norm, batch_norm_backward, conv, conv_backward,
        flatten, max_pool, max_pool_backward, momentum_update, relu, relu_backward,
    )
} | {"batch_statistics": batch_statistics}  # fmt: skip

keep_freed_memory()
threads.take_over_from_blas()

WORKSPACE = workspace_held, workspace_bytes
"""Functions that tell the bytes it holds, and what XPCNN_WORKSPACE allows."""

REMARK = f"the kernels share their work among {threads.count()} threads (XPCNN_THREADS), and hold BLAS to one in each"
