"""The operators of a file in order: constants computed, each value with its shape, each operator with its layers."""

import math
from collections import Counter
from typing import Any

import numpy as np

from xpcnn.backend import to_host
from xpcnn.errors import CheckpointError
from xpcnn.interop.onnx._fold import BATCH, fold, shape_of
from xpcnn.interop.onnx._layers import RULES
from xpcnn.interop.onnx._node import Node, first_line
from xpcnn.interop.onnx._patterns import INSIDE, find
from xpcnn.interop.onnx._reshape import Sizes
from xpcnn.interop.onnx._sample_norm import absorbs
from xpcnn.interop.onnx._weights import affine, arithmetic
from xpcnn.interop.onnx._written import require_onnx
from xpcnn.layers import (
    Affine,
    Conv,
    ConvTranspose,
    Flatten,
    GlobalAveragePooling,
    GlobalMaxPooling,
    GroupNorm,
    Layer,
    LayerNorm,
    Pooling,
    Scale,
    Upsample,
)

JOINS = ("Add", "Concat", "Mul", "Sum")
ARITHMETIC = ("Add", "Div", "Mul", "Sub")
DTYPES = {"FLOAT": np.float32, "DOUBLE": np.float64}

LARGEST = 2**31
"""Numbers of one sample that a layer may give: beyond, a file is damaged, or made to take all memory."""


class Graph:
    """Goes through a graph from its input on; `nodes` are the operators that compute with values, by their output."""

    def __init__(self, proto: Any, file: str, opset: int) -> None:
        onnx, graph = require_onnx(), proto.graph
        self.file, self.opset, self.onnx = file, opset, onnx
        if graph.sparse_initializer:
            raise CheckpointError(f"{file}: it holds sparse constants; export it with dense ones")
        self.constants = {c.name: onnx.numpy_helper.to_array(c) for c in graph.initializer}
        inputs = [value for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise CheckpointError(
                f"{file}: expected one input and one output, got {len(inputs)} and {len(graph.output)}; cut the graph"
            )
        self.start, self.end = inputs[0].name, graph.output[0].name
        self.dtype, self.batch, shape = self._input(inputs[0].type.tensor_type)
        self.readers = Counter(name for node in graph.node for name in node.input) + Counter([self.end])
        self.nodes: dict[str, Node] = {}
        self.shapes: dict[str, Sizes] = {self.start: shape}
        for node in graph.node:
            self._read(node)
        if self.end != self.start and self.end not in self.nodes:
            raise CheckpointError(
                f"{file}: its output {self.end} does not depend on its input; export it again"
            )
        for node in self.nodes.values():
            if node.error:
                raise node.error

    def _input(self, tensor: Any) -> tuple[Any, Any, Sizes]:
        kind = self.onnx.TensorProto.DataType.Name(tensor.elem_type)
        if kind not in DTYPES:
            raise CheckpointError(
                f"{self.file}: its input {self.start} holds {kind}; here networks take FLOAT or DOUBLE: export it so"
            )
        sizes = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
        if len(sizes) < 2 or any(size is not None and size < 1 for size in sizes):
            raise CheckpointError(
                f"{self.file}: its input {self.start} has the shape {sizes}; expected (N, C, H, W) or (N, features), "
                "only N, H and W free: export it with the shape of its images"
            )
        return DTYPES[kind], BATCH if sizes[0] is None else sizes[0], tuple(sizes[1:])

    def _read(self, proto: Any) -> None:
        node = Node(proto, self.constants, self.file, self.opset, self.dtype)
        node.readers = self.readers[node.output] if node.outputs else 0
        try:
            if node.operator == "Shape" and node.sources:
                self.constants[node.output] = shape_of(node, self.batch, self.shapes[node.sources[0]])
            elif not node.sources and not node.attributes.keys() & {"then_branch", "body"}:
                self.constants[node.output] = fold(node)
            else:
                self.nodes[node.output] = node
                self.shapes[node.output] = self._convert(node)
        except CheckpointError as error:
            node.error = error
            self.nodes[node.output] = node
        except Exception as error:  # sizes that are none, arrays that do not fit
            node.error = node.refusal(f"it does not fit together ({first_line(error)})")
            self.nodes[node.output] = node

    def _convert(self, node: Node) -> Sizes:
        """Give the node its layers, and return the shape of a sample of what it gives."""
        if any(self.readers[name] for name in node.outputs[1:] if name):
            raise node.refusal("its second output is read")
        if found := find(node, self.nodes, self.shapes):
            node.layers, source, parts = found
            node.sources = [source]
            for part in parts:
                del self.nodes[part.output]
        elif node.operator in JOINS and len(node.sources) > 1:
            return self._joined(node)
        elif node.operator in ARITHMETIC and len(node.sources) == 1 and len(node.operands) == 2:
            node.layers = self._arithmetic(node)
        elif node.operator in RULES or (node.operator in JOINS and len(node.operands) == 1):
            if not isinstance(node.operands[0], str) or len(node.sources) != 1:
                raise node.refusal("its first operand must be the value, and all others constants")
            shape = self._shape(node, node.sources[0])
            node.layers = RULES.get(node.operator, RULES["Identity"])(node, shape, self.batch)
        elif node.operator in JOINS:
            raise node.refusal("it joins a constant")
        elif node.operator in INSIDE:
            raise node.refusal(
                "only as the last part of a squared distance or a local response normalisation, or inside of a layer "
                "normalisation or GELU"
            )
        else:
            raise CheckpointError(
                f"{self.file}: the operator {node.operator} ({node.name or node.output}) is unknown here; known are: "
                f"{', '.join(sorted({*RULES, *JOINS, *ARITHMETIC}))}; take it out of the model, or put one of these in "
                "its place, before the export"
            )
        shape = self._shape(node, node.sources[0])
        for layer in node.layers:
            shape = shape_after(layer, shape)
            if None not in shape and _elements(shape) > LARGEST:
                raise node.refusal(f"it would make {_elements(shape):,} numbers of each sample")
        return shape

    def _shape(self, node: Node, source: str) -> Sizes:
        if source not in self.shapes:
            raise node.refusal(f"the shape of its operand {source} is not")
        return self.shapes[source]

    def _arithmetic(self, node: Node) -> list[Layer]:
        """A value and a constant; what follows a product or a normalisation may belong to the layer before."""
        (source,) = node.sources
        norm = self._norm_before(source) if node.operator in ("Add", "Mul") else None
        if norm and absorbs(norm, node, self._shape(node, source)):
            return []
        scale, before = arithmetic(node, self._shape(node, source), self.batch), self.nodes.get(source)
        if node.operator == "Add" and before and before.readers == 1 and not before.error:
            bias = scale.bias.data
            if before.operator == "MatMul":
                before.layers = [affine(node, before.weights(1, 2).T, to_host(bias))]
                return []
            if before.operator == "Mul" and [type(layer) for layer in before.layers] == [Scale]:
                before.layers[0].bias.data = bias  # type: ignore[attr-defined]
                return []
        return [scale]

    def _norm_before(self, source: str) -> GroupNorm | LayerNorm | None:
        """Return the normalisation that gives a value which nobody else reads, a scale that it took between."""
        node = self.nodes.get(source)
        while node and node.readers == 1 and not node.error and len(node.sources) == 1:
            if node.layers:
                (layer, *others) = node.layers
                return layer if isinstance(layer, (GroupNorm, LayerNorm)) and not others else None
            node = self.nodes.get(node.sources[0])
        return None

    def _joined(self, node: Node) -> Sizes:
        shapes = [self._shape(node, source) for source in node.sources]
        if len(node.sources) < len(node.operands):
            raise node.refusal("it joins a constant")
        first = shapes[0]
        if node.operator == "Concat":
            (axis,) = node.take(axis=None)
            if any(shape[1:] != first[1:] for shape in shapes) or axis not in (1, -len(first)):
                raise node.refusal("along another axis than 1")
            channels = [shape[0] for shape in shapes]
            return (None if None in channels else sum(channels), *first[1:])  # type: ignore[arg-type]
        node.take()
        if node.operator == "Mul":
            body, gate = sorted(shapes, key=_elements, reverse=True)
            if gate not in (body, (*body[:1], *[1] * len(body[1:]))):
                raise node.refusal(
                    f"it multiplies {shapes[0]} by {shapes[1]}; only equal shapes, or one number a channel"
                )
            return body
        if any(shape != first for shape in shapes):
            raise node.refusal(f"it adds values of different shapes, {' and '.join(map(str, shapes))}")
        return first


def shape_after(layer: Layer, shape: Sizes) -> Sizes:
    """Return the shape of a sample after a layer, with None for what the file leaves open."""
    if None not in shape:
        return layer.output_shape(shape)  # type: ignore[arg-type]
    if isinstance(layer, (Conv, ConvTranspose, Pooling, Upsample)):
        channels = shape[0]
        if isinstance(layer, (Conv, ConvTranspose)):
            if channels not in (None, layer.in_channels):
                layer.output_shape((channels, 1, 1))  # raises, and names the channels
            channels = layer.out_channels
        return (channels, None, None)
    if isinstance(layer, (Flatten, GlobalAveragePooling, GlobalMaxPooling)):
        return (None,) if isinstance(layer, Flatten) else shape[:1]
    return (layer.out_features,) if isinstance(layer, Affine) else shape


def _elements(shape: Sizes) -> float:
    return math.inf if None in shape else math.prod(shape)  # type: ignore[arg-type]
