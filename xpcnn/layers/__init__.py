"""Layers: objects that hold parameters and what backward needs, and call `xpcnn.ops`."""

from xpcnn.layers.activation import ReLU, Sigmoid, Tanh
from xpcnn.layers.affine import Affine
from xpcnn.layers.auxiliary import Auxiliary
from xpcnn.layers.base import Layer
from xpcnn.layers.channels import ChannelScale, PadChannels
from xpcnn.layers.containers import Parallel, Residual, Sequential, Sum
from xpcnn.layers.conv import Conv
from xpcnn.layers.dropout import Dropout
from xpcnn.layers.normalization import BatchNorm, LocalResponseNorm
from xpcnn.layers.parameter import Buffer, Parameter
from xpcnn.layers.partial import PartialConv
from xpcnn.layers.passes import no_grad, one_pass
from xpcnn.layers.pooling import GlobalAveragePooling, Pooling
from xpcnn.layers.radial import RadialBasis
from xpcnn.layers.reshape import Flatten, Identity
from xpcnn.layers.softmax import Softmax

__all__ = [
    "Affine",
    "Auxiliary",
    "BatchNorm",
    "Buffer",
    "ChannelScale",
    "Conv",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling",
    "Identity",
    "Layer",
    "LocalResponseNorm",
    "PadChannels",
    "Parallel",
    "Parameter",
    "PartialConv",
    "Pooling",
    "RadialBasis",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Sum",
    "Tanh",
    "no_grad",
    "one_pass",
]
