"""A network in evaluation as a graph of ONNX operators."""

from collections.abc import Iterable
from functools import singledispatchmethod
from os import PathLike
from typing import Any

import numpy as np

from xpcnn import __version__, layers
from xpcnn._disk.files import replacing
from xpcnn.backend import to_host
from xpcnn.errors import CheckpointError
from xpcnn.geometry import Window, pair
from xpcnn.layers import Layer
from xpcnn.layers.shapes import Shape
from xpcnn.models.lenet5_1998 import _PartialConv, _RadialBasis

INSTALL = 'pip install "xpcnn[onnx]"'
LARGEST = 2**31
"""Bytes of a protocol buffer, which an ONNX file is."""


def export(model: Layer, file: str | PathLike[str], input_shape: Shape) -> None:
    """Write a network as ONNX, in evaluation: dropout rests, statistics are the running ones.

    The graph takes "images", (N, *input_shape) with N free, and gives "scores"; weights keep their dotted names. It
    is in the newest operator set that the installed `onnx` knows, and has passed its checker and shape inference.

    Parameters
    ----------
    model : Layer
    file : path
    input_shape : (channels, height, width)
        Of one image; it is fixed in the graph, since paddings depend on it.

    Raises
    ------
    CheckpointError
        If `onnx` is not installed, or a layer (it is named) has no operator to say it by.
    ShapeError
        For an input_shape that the model does not take.
    """
    onnx = require_onnx()
    check_one_input(model, input_shape)
    model.output_shape(input_shape)
    graph = Graph(model)
    scores = graph.emit(model, "images", input_shape)
    graph.node("Identity", [scores], output="scores")
    float32 = onnx.TensorProto.FLOAT
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "xpcnn",
            [onnx.helper.make_tensor_value_info("images", float32, ["N", *input_shape])],
            [onnx.helper.make_tensor_value_info("scores", float32, ["N", *model.output_shape(input_shape)])],
            graph.initializers,
        ),
        producer_name="xpcnn",
        producer_version=__version__,
        opset_imports=[onnx.helper.make_opsetid("", onnx.defs.onnx_opset_version())],
    )
    proto.ir_version = onnx.helper.find_min_ir_version_for(proto.opset_import)
    if proto.ByteSize() >= LARGEST:
        raise CheckpointError(
            f"export: {model} takes {proto.ByteSize():,} bytes, and an ONNX file must stay below {LARGEST:,}"
        )
    onnx.checker.check_model(proto, full_check=True)  # shape inference included
    with replacing(file) as handle:
        handle.write(proto.SerializeToString())


def check_one_input(model: Layer, input_shape: Shape) -> None:
    """Raise CheckpointError unless the shape is that of one input: a model of several has one for each."""
    if not all(hasattr(size, "__index__") for size in input_shape):
        raise CheckpointError(
            f"export: {model} reads several inputs, {tuple(input_shape)}, and only a network of one input is written; "
            "export its branches one by one"
        )


def require_onnx() -> Any:
    """Import `onnx`, or raise CheckpointError with the command that installs it."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise CheckpointError(f"onnx is not installed; run: {INSTALL}") from error
    return onnx


class Graph:
    """Nodes and constants, as layers add them; `emit` says how each kind of layer does."""

    def __init__(self, model: Layer) -> None:
        self.onnx = require_onnx()
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.names = {id(layer): name for name, layer in model.named_layers()}

    def node(self, operator: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """Add an operator and return the name of what it gives."""
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, layer: Layer, name: str, values: Any) -> str:
        """Add an array under the layer's dotted name and return its name."""
        prefix = self.names.get(id(layer), "")
        name = f"{prefix}.{name}" if prefix else name
        values = np.array(to_host(values), order="C")
        values = values.astype(np.float32) if values.dtype.kind == "f" else values
        if name in self.constants:  # of a layer that stands in several places
            if np.array_equal(values, self.constants[name]):
                return name
            name = f"{name}_{len(self.nodes)}"
        self.constants[name] = values
        self.initializers.append(self.onnx.numpy_helper.from_array(values, name))
        return name

    def integers(self, layer: Layer, name: str, values: Iterable[int]) -> str:
        """Add sizes, axes or pads, and return their name."""
        return self.constant(layer, name, np.array([*values], np.int64))

    def pair(self, layer: Any) -> list[str]:
        """Add weight and, if there is one, bias."""
        pair = [self.constant(layer, "weight", layer.weight.data)]
        return pair if layer.bias is None else [*pair, self.constant(layer, "bias", layer.bias.data)]

    def convolution(self, layer: Any, weight: Any, x: str, window: Window, shape: Shape, groups: int) -> str:
        """Add a Conv with these filters, (O,C/G,KH,KW), and the layer's bias."""
        inputs = [x, self.constant(layer, "weight", weight)]
        inputs += [self.constant(layer, "bias", layer.bias.data)] if layer.bias is not None else []
        return self.node("Conv", inputs, group=groups, dilations=window.dilation, **sliding(window, shape))

    @singledispatchmethod
    def emit(self, layer: Layer, x: str, shape: Shape) -> str:
        """Add the nodes of a layer whose input, of `shape` for one sample, is called x; return its output's name."""
        raise CheckpointError(f"export: {layer} has no ONNX operator; take it out of the model before")

    @emit.register
    def _(self, layer: layers.Sequential, x: str, shape: Shape) -> str:
        for inner in layer:
            x, shape = self.emit(inner, x, shape), inner.output_shape(shape)
        return x

    @emit.register
    def _(self, layer: layers.Residual, x: str, shape: Shape) -> str:
        return self.node("Add", [self.emit(layer.body, x, shape), self.emit(layer.shortcut, x, shape)])

    @emit.register
    def _(self, layer: layers.Parallel, x: str, shape: Shape) -> str:
        return self.node("Concat", [self.emit(branch, x, shape) for branch in layer.branches], axis=1)

    @emit.register
    def _(self, layer: layers.Sum, x: str, shape: Shape) -> str:
        return self.node("Sum", [self.emit(branch, x, shape) for branch in layer.branches])

    @emit.register
    def _(self, layer: layers.Product, x: str, shape: Shape) -> str:
        gate, body = self.emit(layer.gate, x, shape), self.emit(layer.body, x, shape)
        given, axes = layer.gate.output_shape(shape), len(layer.body.output_shape(shape))
        if len(given) < axes:  # (N, C) as (N, C, 1, ...)
            gate = self.node("Unsqueeze", [gate, self.integers(layer, "axes", range(2, 1 + axes))])
        return self.node("Mul", [body, gate])

    @emit.register
    def _(self, layer: layers.Auxiliary, x: str, shape: Shape) -> str:
        return self.emit(layers.Sequential(*layer.trunk), x, shape)  # the heads are for training

    @emit.register
    def _(self, layer: layers.Conv, x: str, shape: Shape) -> str:
        if layer.data_format != "NCHW":
            raise CheckpointError(
                f"export: {layer}: ONNX convolves NCHW only; build the model with data_format='NCHW'"
            )
        weight = layer.weight.data[:, :, ::-1, ::-1] if layer.flip_kernel else layer.weight.data
        return self.convolution(layer, weight, x, layer.window, shape, layer.groups)

    @emit.register
    def _(self, layer: layers.ConvTranspose, x: str, shape: Shape) -> str:
        (top, bottom), (left, right) = layer.window.pads(*layer.output_shape(shape)[1:])
        return self.node(
            "ConvTranspose",
            [x, *self.pair(layer)],
            kernel_shape=layer.window.size,
            strides=layer.window.stride,
            pads=(top, left, bottom, right),
            dilations=layer.window.dilation,
            output_padding=pair(layer.output_padding, "output_padding", 0),
            group=layer.groups,
        )

    @emit.register
    def _(self, layer: layers.Upsample, x: str, shape: Shape) -> str:
        factors = [b / a for a, b in zip(shape, layer.output_shape(shape), strict=True)]
        mode, place = ("nearest", "asymmetric") if layer.mode == "nearest" else ("linear", "half_pixel")
        inputs = [x, "", self.constant(layer, "scales", np.array([1, *factors], np.float32))]
        return self.node(
            "Resize", inputs, mode=mode, coordinate_transformation_mode=place, nearest_mode="floor"
        )

    @emit.register
    def _(self, layer: _PartialConv, x: str, shape: Shape) -> str:
        return self.convolution(layer, layer.filters(), x, layer.window, shape, 1)

    @emit.register
    def _(self, layer: layers.Scale, x: str, shape: Shape) -> str:
        weight, bias = (
            self.constant(layer, name, getattr(layer, name).data.reshape(-1, *[1] * (len(shape) - 1)))
            for name in ("weight", "bias")
        )  # (C, 1, ...)
        return self.node("Add", [self.node("Mul", [x, weight]), bias])

    @emit.register
    def _(self, layer: layers.Pooling, x: str, shape: Shape) -> str:
        slide = sliding(layer.window, shape)
        if layer.mode == "max":
            return self.node("MaxPool", [x], **slide)
        if layer.count_include_pad and layer.window.borders(*shape[1:]) != layer.window.pads(*shape[1:]):
            raise CheckpointError(
                f"export: {layer} counts its padding, but not what its last window hangs over, which ONNX cannot "
                "say; use rounding='floor'"
            )
        return self.node("AveragePool", [x], count_include_pad=int(layer.count_include_pad), **slide)

    @emit.register
    def _(self, layer: layers.GlobalAveragePooling, x: str, shape: Shape) -> str:
        return self.node("Flatten", [self.node("GlobalAveragePool", [x])], axis=1)

    @emit.register
    def _(self, layer: layers.GlobalMaxPooling, x: str, shape: Shape) -> str:
        return self.node("Flatten", [self.node("GlobalMaxPool", [x])], axis=1)

    @emit.register
    def _(self, layer: layers.Affine, x: str, shape: Shape) -> str:
        if len(shape) != 1:
            raise CheckpointError(
                f"export: {layer} on {shape}: ONNX's Gemm wants one axis; put Flatten() before it"
            )
        return self.node("Gemm", [x, *self.pair(layer)], transB=1)

    @emit.register
    def _(self, layer: layers.BatchNorm, x: str, shape: Shape) -> str:
        statistics = [
            self.constant(layer, name, getattr(layer, name).data)
            for name in ("running_mean", "running_variance")
        ]
        inputs = [x, *self.pair(layer), *statistics]
        return self.node("BatchNormalization", inputs, epsilon=layer.eps, momentum=1 - layer.momentum)

    @emit.register
    def _(self, layer: layers.GroupNorm, x: str, shape: Shape) -> str:
        inputs = [x, *self.pair(layer)]
        return self.node("GroupNormalization", inputs, num_groups=layer.groups, epsilon=layer.eps)

    @emit.register
    def _(self, layer: layers.LayerNorm, x: str, shape: Shape) -> str:
        inputs = [x, *self.pair(layer)]
        return self.node("LayerNormalization", inputs, axis=-len(layer.shape), epsilon=layer.eps)

    @emit.register
    def _(self, layer: layers.LocalResponseNorm, x: str, shape: Shape) -> str:
        if layer.size % 2 == 0:
            raise CheckpointError(
                f"export: {layer}: ONNX puts the odd neighbour of an even size on the other side"
            )
        return self.node("LRN", [x], size=layer.size, alpha=layer.alpha, beta=layer.beta, bias=layer.k)

    @emit.register
    def _(self, layer: layers.Dropout, x: str, shape: Shape) -> str:
        return self.node("Dropout", [x, self.constant(layer, "ratio", np.float32(layer.p))])

    @emit.register
    def _(self, layer: layers.PadChannels, x: str, shape: Shape) -> str:
        pads = np.zeros((2, len(shape) + 1), np.int64)
        pads[1, 1] = layer.extra
        return self.node("Pad", [x, self.integers(layer, "pads", pads.reshape(-1))])

    @emit.register
    def _(self, layer: _RadialBasis, x: str, shape: Shape) -> str:
        """-sum (x - centers)^2: x becomes (N,1,I), the difference (N,D,I), the sum (N,D)."""
        axis, last = self.integers(layer, "axis", [1]), self.integers(layer, "last", [2])
        centers = self.constant(layer, "centers", layer.centers.data)
        difference = self.node("Sub", [self.node("Unsqueeze", [x, axis]), centers])
        return self.node("Neg", [self.node("ReduceSumSquare", [difference, last], keepdims=0)])

    @emit.register
    def _(self, layer: layers.Softmax, x: str, shape: Shape) -> str:
        return self.node("Softmax", [x], axis=layer.axis)

    @emit.register
    def _(self, layer: layers.Flatten, x: str, shape: Shape) -> str:
        return self.node("Flatten", [x], axis=1)

    @emit.register
    def _(self, layer: layers.Reshape, x: str, shape: Shape) -> str:
        sizes = (0, *layer.output_shape(shape))  # 0 leaves the batch as it is
        return self.node("Reshape", [x, self.integers(layer, "shape", sizes)])

    @emit.register
    def _(self, layer: layers.Clip, x: str, shape: Shape) -> str:
        limits = [self.constant(layer, name, np.float32(getattr(layer, name))) for name in ("low", "high")]
        return self.node("Clip", [x, *limits])

    @emit.register
    def _(self, layer: layers.LeakyReLU, x: str, shape: Shape) -> str:
        return self.node("LeakyRelu", [x], alpha=layer.slope)

    @emit.register
    def _(self, layer: layers.SiLU, x: str, shape: Shape) -> str:
        return self.node("Mul", [x, self.node("Sigmoid", [x])])

    @emit.register
    def _(self, layer: layers.Identity, x: str, shape: Shape) -> str:
        return x

    @emit.register(layers.ReLU)
    @emit.register(layers.GELU)
    @emit.register(layers.Sigmoid)
    @emit.register(layers.Tanh)
    def _(self, layer: Layer, x: str, shape: Shape) -> str:
        name = type(layer).__name__
        return self.node({"ReLU": "Relu", "GELU": "Gelu"}.get(name, name), [x])


def sliding(window: Window, shape: Shape) -> dict[str, Any]:
    """The attributes of a sliding window; what it hangs over, with rounding="ceil", becomes padding."""
    (top, bottom), (left, right) = window.borders(*shape[1:])
    return {"kernel_shape": window.size, "strides": window.stride, "pads": (top, left, bottom, right)}
