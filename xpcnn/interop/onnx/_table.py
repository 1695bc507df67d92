"""Layers that are one ONNX operator with the same numbers: one table, read and written."""

from typing import Any, NamedTuple

from xpcnn.errors import CheckpointError
from xpcnn.interop.onnx._node import Node, decimal
from xpcnn.layers import GELU, Layer, LeakyReLU, LocalResponseNorm, ReLU, Sigmoid, Tanh


class Row(NamedTuple):
    """A layer's class; and for each attribute of the operator the layer's argument and ONNX's default."""

    kind: type[Layer]
    attributes: dict[str, tuple[str, Any]]


TABLE = {
    "Gelu": Row(GELU, {}),
    "LRN": Row(
        LocalResponseNorm,
        {"size": ("size", 0), "alpha": ("alpha", 1e-4), "beta": ("beta", 0.75), "bias": ("k", 1.0)},
    ),
    "LeakyRelu": Row(LeakyReLU, {"alpha": ("slope", 0.01)}),
    "Relu": Row(ReLU, {}),
    "Sigmoid": Row(Sigmoid, {}),
    "Tanh": Row(Tanh, {}),
}
BY_KIND = {row.kind: (operator, row.attributes) for operator, row in TABLE.items()}


def read(node: Node, shape: Any, batch: Any) -> list[Layer]:
    """Return the layer of an operator of the table."""
    kind, attributes = TABLE[node.operator]
    if node.operator == "Gelu" and (way := node.attributes.pop("approximate", b"none")) != b"none":
        raise node.refusal(f"its approximate={way!r} is not; only b'none', which takes the error function")
    values = node.take(**{name: default for name, (_, default) in attributes.items()})
    arguments = {argument: value for (argument, _), value in zip(attributes.values(), values, strict=True)}
    if arguments.get("size", 1) % 2 == 0:  # of LRN: the odd neighbour is on the other side here
        raise node.refusal("only of an odd size")
    return [
        kind(
            **{
                name: decimal(value) if isinstance(value, float) else value
                for name, value in arguments.items()
            }
        )
    ]


def write(layer: Any, shape: Any) -> tuple[str, dict[str, Any]]:
    """Return the operator of a layer of the table, and its attributes."""
    kind = next(kind for kind in type(layer).__mro__ if kind in BY_KIND)
    operator, attributes = BY_KIND[kind]
    if isinstance(layer, LocalResponseNorm) and layer.size % 2 == 0:
        raise CheckpointError(
            f"export: {layer}: ONNX puts the odd neighbour of an even size on the other side"
        )
    return operator, {name: getattr(layer, argument) for name, (argument, _) in attributes.items()}
