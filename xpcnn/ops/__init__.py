"""The textbook: what a layer computes, as pure functions, forward above backward, one concept a file."""

from xpcnn.ops.activation import (
    clip,
    clip_backward,
    leaky_relu,
    leaky_relu_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh,
    tanh_backward,
)
from xpcnn.ops.affine import affine, affine_backward
from xpcnn.ops.channels import channel_scale, channel_scale_backward, pad_channels
from xpcnn.ops.conv import conv, conv_backward
from xpcnn.ops.conv_transpose import conv_transpose, conv_transpose_backward
from xpcnn.ops.dropout import keep_mask
from xpcnn.ops.fused import relu_max_pool, relu_max_pool_backward
from xpcnn.ops.normalization import (
    batch_norm,
    batch_norm_backward,
    batch_statistics,
    local_response_norm,
    local_response_norm_backward,
)
from xpcnn.ops.pooling import average_pool, average_pool_backward, max_pool, max_pool_backward
from xpcnn.ops.product import product, product_backward
from xpcnn.ops.reshape import flatten
from xpcnn.ops.sample_norm import group_norm, group_norm_backward, layer_norm, layer_norm_backward
from xpcnn.ops.smooth import gelu, gelu_backward, silu, silu_backward
from xpcnn.ops.softmax import (
    softmax,
    softmax_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from xpcnn.ops.update import adam_update, momentum_update, sgd_update
from xpcnn.ops.upsample import (
    upsample_bilinear,
    upsample_bilinear_backward,
    upsample_nearest,
    upsample_nearest_backward,
)
from xpcnn.ops.windows import col2im, im2col

__all__ = [
    "adam_update",
    "affine",
    "affine_backward",
    "average_pool",
    "average_pool_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_statistics",
    "channel_scale",
    "channel_scale_backward",
    "clip",
    "clip_backward",
    "col2im",
    "conv",
    "conv_backward",
    "conv_transpose",
    "conv_transpose_backward",
    "flatten",
    "gelu",
    "gelu_backward",
    "group_norm",
    "group_norm_backward",
    "im2col",
    "keep_mask",
    "layer_norm",
    "layer_norm_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "local_response_norm",
    "local_response_norm_backward",
    "max_pool",
    "max_pool_backward",
    "momentum_update",
    "pad_channels",
    "product",
    "product_backward",
    "relu",
    "relu_backward",
    "relu_max_pool",
    "relu_max_pool_backward",
    "sgd_update",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "tanh",
    "tanh_backward",
    "upsample_bilinear",
    "upsample_bilinear_backward",
    "upsample_nearest",
    "upsample_nearest_backward",
]


def __dir__() -> list[str]:
    return __all__
