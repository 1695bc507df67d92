"""Layers: objects that hold parameters and what backward needs, and call `xpcnn.ops`."""

from xpcnn.layers.activation import ReLU, Sigmoid, Tanh
from xpcnn.layers.affine import Affine
from xpcnn.layers.auxiliary import Auxiliary
from xpcnn.layers.base import Buffer, Layer, Parameter, no_grad
from xpcnn.layers.channels import ChannelScale, PadChannels
from xpcnn.layers.containers import Parallel, Residual, Sequential
from xpcnn.layers.conv import Conv
from xpcnn.layers.dropout import Dropout
from xpcnn.layers.normalization import BatchNorm, LocalResponseNorm
from xpcnn.layers.partial import PartialConv
from xpcnn.layers.piecewise import Clip, LeakyReLU
from xpcnn.layers.pooling import GlobalAveragePooling, Pooling
from xpcnn.layers.product import Product
from xpcnn.layers.radial import RadialBasis
from xpcnn.layers.reshape import Flatten, Identity, Reshape
from xpcnn.layers.softmax import Softmax

__all__ = [
    "Affine",
    "Auxiliary",
    "BatchNorm",
    "Buffer",
    "ChannelScale",
    "Clip",
    "Conv",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling",
    "Identity",
    "Layer",
    "LeakyReLU",
    "LocalResponseNorm",
    "PadChannels",
    "Parallel",
    "Parameter",
    "PartialConv",
    "Pooling",
    "Product",
    "RadialBasis",
    "ReLU",
    "Reshape",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "no_grad",
]
