"""A graph that is being written."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from xpcnn.backend import to_host
from xpcnn.errors import CheckpointError
from xpcnn.layers import Layer

INSTALL = 'pip install "xpcnn[onnx]"'


def require_onnx() -> Any:
    """Import `onnx`, or raise CheckpointError with the command that installs it."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise CheckpointError(f"onnx is not installed; run: {INSTALL}") from error
    return onnx


class Graph:
    """The nodes and constants of a graph, to which `_operators.emit` adds layer by layer."""

    def __init__(self, model: Layer) -> None:
        self.onnx = require_onnx()
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.names = {id(layer): name for name, layer in model.named_layers()}

    def node(self, operator: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """Add an operator and return the name of its output."""
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, layer: Layer, name: str, values: Any) -> str:
        """Add an array under the layer's dotted name and return its name."""
        prefix = self.names.get(id(layer), "")
        name = f"{prefix}.{name}" if prefix else name
        values = np.array(to_host(values), order="C")
        values = values.astype(np.float32) if values.dtype.kind == "f" else values
        if name in self.constants:  # of a layer that is used in several places
            if np.array_equal(values, self.constants[name]):
                return name
            name = f"{name}_{len(self.nodes)}"
        self.constants[name] = values
        self.initializers.append(self.onnx.numpy_helper.from_array(values, name))
        return name

    def integers(self, layer: Layer, name: str, values: Iterable[int]) -> str:
        """Add sizes, axes or pads, and return their name."""
        return self.constant(layer, name, np.array([*values], np.int64))

    def weights(self, layer: Any, weight: Any = None) -> list[str]:
        """Add a layer's weight, or `weight` in its place, and its bias if there is one; return their names."""
        names = [self.constant(layer, "weight", layer.weight.data if weight is None else weight)]
        return names if layer.bias is None else [*names, self.constant(layer, "bias", layer.bias.data)]
