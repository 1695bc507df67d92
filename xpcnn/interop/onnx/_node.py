"""One ONNX operator: its attributes as Python values, its operands as values or constants."""

from typing import Any

import numpy as np

from xpcnn.errors import CheckpointError
from xpcnn.interop.onnx._written import require_onnx
from xpcnn.layers import Layer


class Node:
    """An operator of a graph.

    `operands` are in the operator's order: a string is the name of a value, an array is a constant, None is one that
    was left out. `sources` are the names among them. `layers` is what the node becomes, `error` why it becomes
    nothing, `readers` how many operators read its output.
    """

    def __init__(
        self, proto: Any, constants: dict[str, np.ndarray], file: str, opset: int, dtype: Any
    ) -> None:
        onnx = require_onnx()
        self.operator, self.name, self.outputs, self.file = (
            proto.op_type,
            proto.name,
            list(proto.output),
            file,
        )
        if proto.domain not in ("", "ai.onnx"):
            self.operator = f"{proto.domain}.{proto.op_type}"
        self.opset, self.dtype = opset, dtype
        self.attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
        self.operands = [constants.get(name, name) if name else None for name in proto.input]
        self.sources: list[str] = [operand for operand in self.operands if isinstance(operand, str)]
        self.layers: list[Layer] = []
        self.error: CheckpointError | None = None
        self.readers = 0

    @property
    def output(self) -> str:
        return str(self.outputs[0])

    def take(self, **defaults: Any) -> list[Any]:
        """Return attributes in the order asked for; refuse one that is not asked for."""
        unknown = self.attributes.keys() - defaults.keys()
        if unknown:
            raise self.refusal(f"its {min(unknown)}={self.attributes[min(unknown)]!r} is not")
        return [self.attributes.get(name, default) for name, default in defaults.items()]

    def constant(self, index: int) -> np.ndarray | None:
        """Return an operand that must be a constant, None if it is left out."""
        operand = self.operands[index] if index < len(self.operands) else None
        if isinstance(operand, str):
            raise self.refusal(f"its operand {index} ({operand}) must be a constant")
        return operand

    def weights(self, index: int, *ranks: int) -> np.ndarray:
        """Return an operand that must be an array of the graph's dtype, with one of these ranks if any is given."""
        array = self.constant(index)
        if array is None or array.dtype != self.dtype:
            raise self.refusal(
                f"its operand {index} must hold {np.dtype(self.dtype).name} like the graph's input, got "
                f"{'nothing' if array is None else array.dtype.name}"
            )
        if ranks and array.ndim not in ranks:
            raise self.refusal(f"its operand {index} must have {ranks[0]} axes, got shape {array.shape}")
        return array

    def axes(self, rank: int) -> list[int] | None:
        """Return the axes, counted from the front: an attribute at first, since opset 13 or 18 the second operand."""
        axes = self.attributes.get("axes")
        if axes is None and (given := self.constant(1)) is not None:
            axes = given.reshape(-1).tolist()
        return None if axes is None else [self.axis(axis, rank) for axis in axes]

    def axis(self, axis: int, rank: int) -> int:
        """Return an axis counted from the front, or refuse one that is not there."""
        if not -rank <= axis < rank:
            raise self.refusal(f"its input has {rank} axes, and no axis {axis}")
        return axis % rank

    def refusal(self, why: str) -> CheckpointError:
        return CheckpointError(
            f"{self.file}: the operator {self.operator} ({self.name or self.output}) is supported, but {why}; "
            "export the model with plain layers of fixed sizes"
        )


def decimal(value: Any) -> float:
    """Return the shortest decimal that is this number in float32, as attributes are: 1e-05, not 9.9999997e-06."""
    return float(str(np.float32(value)))


def first_line(error: Exception) -> str:
    """Return the beginning of a message that another program may have spread over many lines."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{lines[0]:.200}"
