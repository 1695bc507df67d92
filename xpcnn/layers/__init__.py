"""Layers: objects that hold parameters and what backward needs, and call `xpcnn.ops`."""

from xpcnn.layers.activation import ReLU, Sigmoid, Tanh
from xpcnn.layers.affine import Affine
from xpcnn.layers.base import Buffer, Layer, Parameter, no_grad
from xpcnn.layers.containers import Parallel, Residual, Sequential
from xpcnn.layers.conv import Conv
from xpcnn.layers.dropout import Dropout
from xpcnn.layers.normalization import BatchNorm, LocalResponseNorm
from xpcnn.layers.pooling import GlobalAveragePooling, Pooling
from xpcnn.layers.reshape import Flatten, Identity
from xpcnn.layers.softmax import Softmax

__all__ = [
    "Affine",
    "BatchNorm",
    "Buffer",
    "Conv",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling",
    "Identity",
    "Layer",
    "LocalResponseNorm",
    "Parallel",
    "Parameter",
    "Pooling",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "no_grad",
]
