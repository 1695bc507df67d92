"""CUDA substitutes for the ops: each .cu file has a Python file of the same name, whose functions launch its kernels.

`substitutes(module)` binds them to an array module: CuPy, or the simulated device. The text is compiled when it is
first needed: by NVRTC on a GPU, by a C++ compiler on the simulated device. docs/kernels.md is the introduction.
"""

import functools
from collections.abc import Callable
from typing import Any

from xpcnn.kernels.cuda.activation import (
    clip,
    clip_backward,
    gelu,
    gelu_backward,
    leaky_relu,
    leaky_relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    tanh,
    tanh_backward,
)
from xpcnn.kernels.cuda.average_pool import average_pool, average_pool_backward
from xpcnn.kernels.cuda.batch_norm import batch_norm, batch_norm_backward, batch_statistics
from xpcnn.kernels.cuda.col2im import col2im
from xpcnn.kernels.cuda.conv import conv, conv_backward
from xpcnn.kernels.cuda.im2col import im2col
from xpcnn.kernels.cuda.keep_mask import keep_mask
from xpcnn.kernels.cuda.launch import Device
from xpcnn.kernels.cuda.max_pool import max_pool, max_pool_backward
from xpcnn.kernels.cuda.relu import relu, relu_backward
from xpcnn.kernels.cuda.sample_norm import (
    group_norm,
    group_norm_backward,
    layer_norm,
    layer_norm_backward,
)
from xpcnn.kernels.cuda.softmax_cross_entropy import softmax_cross_entropy, softmax_cross_entropy_backward
from xpcnn.kernels.cuda.update import adam_update, momentum_update, sgd_update

OPS: tuple[Callable[..., Any], ...] = (
    adam_update, average_pool, average_pool_backward, batch_norm, batch_norm_backward, batch_statistics, clip,
    clip_backward, col2im, conv, conv_backward, gelu, gelu_backward, group_norm, group_norm_backward, im2col, keep_mask,
    layer_norm, layer_norm_backward, leaky_relu, leaky_relu_backward, max_pool, max_pool_backward, momentum_update,
    relu, relu_backward, sgd_update, sigmoid, sigmoid_backward, silu, silu_backward, softmax_cross_entropy,
    softmax_cross_entropy_backward, tanh, tanh_backward,
)  # fmt: skip


def substitutes(module: Any) -> dict[str, Callable[..., Any]]:
    """Return the substitutes by the names of their ops, for arrays of `module`: `empty`, `ndarray`, `RawModule`, ..."""
    device = Device(module)
    return {op.__name__: functools.partial(op, device) for op in OPS}
