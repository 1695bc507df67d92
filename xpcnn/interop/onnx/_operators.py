"""What each layer becomes in an ONNX graph: one function for each kind of layer, or a row of `_table`."""

from collections.abc import Callable
from functools import singledispatch
from typing import Any

import numpy as np

from xpcnn import layers
from xpcnn.errors import CheckpointError
from xpcnn.geometry import Window, pair
from xpcnn.interop._kinds import kind_of
from xpcnn.interop.onnx import _table
from xpcnn.interop.onnx._written import Graph
from xpcnn.layers import Layer
from xpcnn.layers.shapes import Shape
from xpcnn.models.lenet5_1998 import _PartialConv, _RadialBasis


def _gemm(layer: Any, shape: Shape) -> tuple[str, dict[str, Any]]:
    if len(shape) != 1:
        raise CheckpointError(
            f"export: {layer} on {shape}: ONNX's Gemm wants one axis; put Flatten() before it"
        )
    return "Gemm", {"transB": 1}


def _conv_transpose(layer: Any, shape: Shape) -> tuple[str, dict[str, Any]]:
    padding = layer.window.pads(*layer.output_shape(shape)[1:])
    extra = pair(layer.output_padding, "output_padding", 0)
    more = {"dilations": layer.window.dilation, "group": layer.groups, "output_padding": extra}
    return "ConvTranspose", _attributes(layer.window, padding) | more


ONE_OPERATOR: dict[type[Layer], Callable[[Any, Shape], tuple[str, dict[str, Any]]]] = {
    layers.Affine: _gemm,
    layers.ConvTranspose: _conv_transpose,
    layers.Flatten: lambda layer, shape: ("Flatten", {"axis": 1}),
    layers.GroupNorm: lambda layer, shape: (
        "GroupNormalization",
        {"num_groups": layer.groups, "epsilon": layer.eps},
    ),
    layers.LayerNorm: lambda layer, shape: (
        "LayerNormalization",
        {"axis": -len(layer.shape), "epsilon": layer.eps},
    ),
    layers.Softmax: lambda layer, shape: ("Softmax", {"axis": layer.axis}),
    **dict.fromkeys(_table.BY_KIND, _table.write),
}
"""Layers that are one operator on the input and, if there are any, weight and bias; its name and attributes."""


def emit(layer: Layer, graph: Graph, x: str, shape: Shape) -> str:
    """Add the nodes of a layer to a graph and return the name of its output.

    `x` is the name of its input and `shape` the input's shape for one sample.

    Raises
    ------
    CheckpointError
        If no ONNX operator computes what the layer computes.
    """
    kind = kind_of(layer, "export")
    if kind not in ONE_OPERATOR:
        return _emit(layer, graph, x, shape)
    operator, attributes = ONE_OPERATOR[kind](layer, shape)
    return graph.node(
        operator, [x, *(graph.weights(layer) if hasattr(layer, "weight") else ())], **attributes
    )


@singledispatch
def _emit(layer: Any, graph: Graph, x: str, shape: Shape) -> str:
    raise CheckpointError(f"export: {layer} has no ONNX operator; take it out of the model before")


# ---- containers


@_emit.register
def _(layer: layers.Sequential, graph: Graph, x: str, shape: Shape) -> str:
    for inner in layer:
        x, shape = emit(inner, graph, x, shape), inner.output_shape(shape)
    return x


@_emit.register
def _(layer: layers.Auxiliary, graph: Graph, x: str, shape: Shape) -> str:
    return emit(layers.Sequential(*layer.trunk), graph, x, shape)  # the heads are for training


@_emit.register
def _(layer: layers.Residual, graph: Graph, x: str, shape: Shape) -> str:
    return graph.node("Add", [emit(branch, graph, x, shape) for branch in (layer.body, layer.shortcut)])


@_emit.register
def _(layer: layers.Sum, graph: Graph, x: str, shape: Shape) -> str:
    return graph.node("Sum", [emit(branch, graph, x, shape) for branch in layer.branches])


@_emit.register
def _(layer: layers.Parallel, graph: Graph, x: str, shape: Shape) -> str:
    return graph.node("Concat", [emit(branch, graph, x, shape) for branch in layer.branches], axis=1)


@_emit.register
def _(layer: layers.Product, graph: Graph, x: str, shape: Shape) -> str:
    gate, body = emit(layer.gate, graph, x, shape), emit(layer.body, graph, x, shape)
    given, axes = layer.gate.output_shape(shape), len(layer.body.output_shape(shape))
    if len(given) < axes:  # (N, C) as (N, C, 1, ...)
        gate = graph.node("Unsqueeze", [gate, graph.integers(layer, "axes", range(2, 1 + axes))])
    return graph.node("Mul", [body, gate])


# ---- layers with weights


def _convolution(layer: Any, graph: Graph, x: str, shape: Shape, weight: Any, groups: int) -> str:
    """Add a Conv with these filters, (O,C/G,KH,KW), and the layer's bias."""
    inputs = [x, *graph.weights(layer, weight)]
    slide = _sliding(layer.window, shape)
    return graph.node("Conv", inputs, group=groups, dilations=layer.window.dilation, **slide)


@_emit.register
def _(layer: layers.Conv, graph: Graph, x: str, shape: Shape) -> str:
    if layer.data_format != "NCHW":
        raise CheckpointError(
            f"export: {layer}: ONNX convolves NCHW only; build the model with data_format='NCHW'"
        )
    weight = layer.weight.data[:, :, ::-1, ::-1] if layer.flip_kernel else layer.weight.data
    return _convolution(layer, graph, x, shape, weight, layer.groups)


@_emit.register
def _(layer: _PartialConv, graph: Graph, x: str, shape: Shape) -> str:
    return _convolution(layer, graph, x, shape, layer.filters(), 1)


@_emit.register
def _(layer: layers.BatchNorm, graph: Graph, x: str, shape: Shape) -> str:
    names = ("running_mean", "running_variance")
    statistics = [graph.constant(layer, name, getattr(layer, name).data) for name in names]
    inputs = [x, *graph.weights(layer), *statistics]
    return graph.node("BatchNormalization", inputs, epsilon=layer.eps, momentum=1 - layer.momentum)


@_emit.register
def _(layer: layers.Scale, graph: Graph, x: str, shape: Shape) -> str:
    weight, bias = (
        graph.constant(layer, name, getattr(layer, name).data.reshape(-1, *[1] * (len(shape) - 1)))
        for name in ("weight", "bias")
    )  # (C, 1, ...)
    return graph.node("Add", [graph.node("Mul", [x, weight]), bias])


@_emit.register
def _(layer: _RadialBasis, graph: Graph, x: str, shape: Shape) -> str:
    """-sum (x - centers)^2: x becomes (N,1,I), the difference (N,D,I), the sum (N,D)."""
    axis, last = graph.integers(layer, "axis", [1]), graph.integers(layer, "last", [2])
    centers = graph.constant(layer, "centers", layer.centers.data)
    difference = graph.node("Sub", [graph.node("Unsqueeze", [x, axis]), centers])
    return graph.node("Neg", [graph.node("ReduceSumSquare", [difference, last], keepdims=0)])


# ---- windows and images


@_emit.register
def _(layer: layers.Pooling, graph: Graph, x: str, shape: Shape) -> str:
    slide = _sliding(layer.window, shape)
    if layer.mode == "max":
        return graph.node("MaxPool", [x], **slide)
    if layer.count_include_pad and layer.window.borders(*shape[1:]) != layer.window.pads(*shape[1:]):
        raise CheckpointError(
            f"export: {layer} counts its padding, but not what its last window reaches beyond it, which ONNX cannot "
            "express; use rounding='floor'"
        )
    return graph.node("AveragePool", [x], count_include_pad=int(layer.count_include_pad), **slide)


@_emit.register(layers.GlobalAveragePooling)
@_emit.register(layers.GlobalMaxPooling)
def _(layer: Layer, graph: Graph, x: str, shape: Shape) -> str:
    operator = "GlobalMaxPool" if isinstance(layer, layers.GlobalMaxPooling) else "GlobalAveragePool"
    return graph.node("Flatten", [graph.node(operator, [x])], axis=1)


@_emit.register
def _(layer: layers.Upsample, graph: Graph, x: str, shape: Shape) -> str:
    factors = [b / a for a, b in zip(shape, layer.output_shape(shape), strict=True)]
    mode, place = ("nearest", "asymmetric") if layer.mode == "nearest" else ("linear", "half_pixel")
    inputs = [x, "", graph.constant(layer, "scales", np.array([1, *factors], np.float32))]
    return graph.node("Resize", inputs, mode=mode, coordinate_transformation_mode=place, nearest_mode="floor")


@_emit.register
def _(layer: layers.PadChannels, graph: Graph, x: str, shape: Shape) -> str:
    pads = np.zeros((2, len(shape) + 1), np.int64)
    pads[1, 1] = layer.extra
    return graph.node("Pad", [x, graph.integers(layer, "pads", pads.reshape(-1))])


# ---- the others


@_emit.register
def _(layer: layers.Dropout, graph: Graph, x: str, shape: Shape) -> str:
    return graph.node("Dropout", [x, graph.constant(layer, "ratio", np.float32(layer.p))])


@_emit.register
def _(layer: layers.Clip, graph: Graph, x: str, shape: Shape) -> str:
    limits = [graph.constant(layer, name, np.float32(getattr(layer, name))) for name in ("low", "high")]
    return graph.node("Clip", [x, *limits])


@_emit.register
def _(layer: layers.SiLU, graph: Graph, x: str, shape: Shape) -> str:
    return graph.node("Mul", [x, graph.node("Sigmoid", [x])])


@_emit.register
def _(layer: layers.Reshape, graph: Graph, x: str, shape: Shape) -> str:
    sizes = (0, *layer.output_shape(shape))  # 0 leaves the batch as it is
    return graph.node("Reshape", [x, graph.integers(layer, "shape", sizes)])


@_emit.register
def _(layer: layers.Identity, graph: Graph, x: str, shape: Shape) -> str:
    return x


def _sliding(window: Window, shape: Shape) -> dict[str, Any]:
    """Return a sliding window's attributes; what it reaches beyond the image, with rounding="ceil", becomes padding."""
    return _attributes(window, window.borders(*shape[1:]))


def _attributes(window: Window, padding: Any) -> dict[str, Any]:
    (top, bottom), (left, right) = padding
    return {"kernel_shape": window.size, "strides": window.stride, "pads": (top, left, bottom, right)}
