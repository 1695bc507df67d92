"""Layers: objects that hold parameters and what backward needs, and call `xpcnn.ops`."""

from xpcnn.layers.activation import GELU, Clip, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Tanh
from xpcnn.layers.affine import Affine
from xpcnn.layers.auxiliary import Auxiliary
from xpcnn.layers.base import Layer
from xpcnn.layers.branches import Parallel, Product, Residual, Sum
from xpcnn.layers.channels import ChannelScale, PadChannels, Scale
from xpcnn.layers.containers import Sequential
from xpcnn.layers.conv import Conv
from xpcnn.layers.conv_transpose import ConvTranspose
from xpcnn.layers.dropout import Dropout
from xpcnn.layers.normalization import BatchNorm, LocalResponseNorm
from xpcnn.layers.parameter import Buffer, Parameter
from xpcnn.layers.passes import no_grad, one_pass
from xpcnn.layers.pooling import GlobalAveragePooling, GlobalMaxPooling, Pooling
from xpcnn.layers.reshape import Flatten, Identity, Reshape
from xpcnn.layers.sample_norm import GroupNorm, LayerNorm
from xpcnn.layers.upsample import Upsample

__all__ = [
    "GELU",
    "Affine",
    "Auxiliary",
    "BatchNorm",
    "Buffer",
    "ChannelScale",
    "Clip",
    "Conv",
    "ConvTranspose",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling",
    "GlobalMaxPooling",
    "GroupNorm",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LocalResponseNorm",
    "PadChannels",
    "Parallel",
    "Parameter",
    "Pooling",
    "Product",
    "ReLU",
    "Reshape",
    "Residual",
    "Scale",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Sum",
    "Tanh",
    "Upsample",
    "no_grad",
    "one_pass",
]


def __dir__() -> list[str]:
    return __all__
