"""A graph of ONNX operators as layers that train.

The graph must be one that Sequential, Residual and Parallel can say: whatever parts at one value joins again
at an Add or a Concat. Read from its output backwards, it takes itself apart.
"""

from os import PathLike
from pathlib import Path
from typing import Any

from xpcnn.backend import to_device
from xpcnn.errors import CheckpointError
from xpcnn.interop.onnx_export import require_onnx
from xpcnn.interop.onnx_layers import LAYERS, Node
from xpcnn.layers import (
    Flatten,
    GlobalAveragePooling,
    Identity,
    Layer,
    Parallel,
    RadialBasis,
    Residual,
    Sequential,
)

JOINS = ("Add", "Concat")
INSIDE_RADIAL = ("Neg", "ReduceSumSquare", "Sub", "Unsqueeze")
"""What export makes of a squared distance, last operator first."""


def load(file: str | PathLike[str]) -> Layer:
    """Read an ONNX file into layers, in evaluation mode; `train()` and they learn on.

    Raises
    ------
    CheckpointError
        If `onnx` is not installed, the file is missing or damaged, or its graph is none that our layers can say:
        the first operator that we do not know, or whose attributes we do not, is named.
    """
    onnx = require_onnx()
    if not Path(file).is_file():
        raise CheckpointError(f"{file}: no such file; scripts/export.py WEIGHTS --onnx FILE writes one")
    try:
        proto = onnx.load(str(file))
        onnx.checker.check_model(proto)
    except Exception as error:  # protobuf's and the checker's own kinds
        raise CheckpointError(
            f"{file}: expected an ONNX model, but reading it failed ({str(error).strip().splitlines()[0]:.200}); "
            "export it again"
        ) from error
    return Reader(proto, str(file)).model().eval()


class Reader:
    """Takes a graph apart: every value has one producer, and one value that all its paths come through."""

    def __init__(self, proto: Any, file: str) -> None:
        onnx, graph, self.file = require_onnx(), proto.graph, file
        constants = {c.name: onnx.numpy_helper.to_array(c) for c in graph.initializer}
        constants |= {
            node.output[0]: onnx.numpy_helper.to_array(onnx.helper.get_attribute_value(node.attribute[0]))
            for node in graph.node
            if node.op_type == "Constant" and node.attribute[0].name == "value"
        }
        inputs = [value.name for value in graph.input if value.name not in constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise CheckpointError(
                f"{file}: expected one input and one output, got {len(inputs)} and {len(graph.output)}; cut the graph"
            )
        self.start, self.end = inputs[0], graph.output[0].name
        self.producers: dict[str, Node] = {}
        self.order, self.gate = {self.start: 0}, {self.start: self.start}
        for proto_node in graph.node:
            if proto_node.op_type == "Constant":
                continue
            node = Node(proto_node, constants, file)
            if node.operator not in {*LAYERS, *JOINS, *INSIDE_RADIAL, "GlobalAveragePool"}:
                raise CheckpointError(
                    f"{file}: the operator {node.operator} ({node.name or node.output}) is unknown here; known are: "
                    f"{', '.join(sorted({*LAYERS, *JOINS, 'GlobalAveragePool'}))}"
                )
            if node.operator in JOINS and node.constants:
                raise node.refusal("it joins a constant")
            self.producers[node.output] = node
            self.order[node.output] = len(self.order)
            self.gate[node.output] = self.common(node.inputs)

    def model(self) -> Layer:
        """The whole graph."""
        layers = self.chain(self.start, self.end)
        unused = [node for node in self.producers.values() if not hasattr(node, "used")]
        if unused:
            raise unused[0].refusal("nothing leads from it to the output")
        return Sequential(*layers)

    def common(self, values: list[str]) -> str:
        """The last value that every path from the start to these comes through."""
        first, *others = values
        for other in others:
            while first != other:
                if self.order[first] < self.order[other]:
                    other = self.gate[other]
                else:
                    first = self.gate[first]
        return first

    def chain(self, start: str, end: str) -> list[Layer]:
        """The layers that lead from one value to another, read backwards."""
        layers: list[Layer] = []
        while end != start:
            node = self.producers[end]
            if hasattr(node, "used"):
                raise node.refusal("paths part at it that do not join as Residual and Parallel do")
            node.used = True  # type: ignore[attr-defined]
            if node.operator in JOINS:
                gate = self.gate[end]
                branches = [_one(self.chain(gate, value)) for value in node.inputs]
                layers.append(_join(node, branches))
                end = gate
            elif node.operator == "Neg":
                layer, end = self.radial_basis(node)
                layers.append(layer)
            elif node.operator == "GlobalAveragePool":
                if not (layers and isinstance(layers[-1], Flatten)):
                    raise node.refusal("only with a Flatten behind it")
                layers[-1] = GlobalAveragePooling()  # it leaves nothing to flatten
                (end,) = node.inputs
            elif node.operator in LAYERS:
                layers += LAYERS[node.operator](node)
                (end,) = node.inputs
            else:
                raise node.refusal("only as a part of a squared distance, Neg last")
        return layers[::-1]

    def radial_basis(self, neg: Node) -> tuple[Layer, str]:
        """-sum (x - centers)^2, in the four operators that export makes of it."""
        nodes = [neg]
        for operator in INSIDE_RADIAL[1:]:
            node = self.producers.get(nodes[-1].inputs[0])
            if node is None or node.operator != operator:
                raise neg.refusal("only as the last part of a squared distance")
            node.used = True  # type: ignore[attr-defined]
            nodes.append(node)
        centers = nodes[2].constants[0]
        layer = RadialBasis(centers.shape[1], centers.shape[0])
        layer.centers.data = to_device(centers)
        return layer, nodes[-1].inputs[0]


def _one(layers: list[Layer]) -> Layer:
    return layers[0] if len(layers) == 1 else Sequential(*layers) if layers else Identity()


def _join(node: Node, branches: list[Layer]) -> Layer:
    if node.operator == "Concat":
        if node.take(axis=None) != [1]:
            raise node.refusal("along another axis than 1")
        return Parallel(*branches)
    shortcut = next((b for b in branches if isinstance(b, Identity)), branches[-1])
    body = branches[0] if shortcut is branches[-1] else branches[-1]
    return Residual(body, shortcut)
