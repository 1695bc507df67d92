"""What a graph computes from constants and shapes alone: sizes for a Reshape, weights that are transposed first."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from xpcnn.interop.onnx._node import Node
from xpcnn.interop.onnx._written import require_onnx

LARGEST = 2**20
"""Numbers that an operator may make of fewer: a file of some bytes must not take gigabytes."""


class Batch:
    """The number of samples, where the file leaves it open. It may be moved about, and never computed with."""

    def __repr__(self) -> str:
        return "N"


BATCH = Batch()


def fold(node: Node) -> np.ndarray:
    """Return what an operator gives whose operands are all constants.

    Raises
    ------
    CheckpointError
        For an operator that is not computed here, or one that would make a large array of a small one.
    """
    if node.operator not in FOLD:
        raise node.refusal("only on values, and all its operands are constants")
    _check_size(node)
    arrays = [operand for operand in node.operands if not isinstance(operand, str)]
    array = np.asarray(FOLD[node.operator](node, *arrays))
    if array.dtype == object and not any(size is BATCH or size is None for size in array.flat):
        array = array.astype(np.int64)
    return array


def shape_of(node: Node, batch: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """Return what a Shape operator gives for a value whose samples have this shape."""
    start, end = node.take(start=0, end=None)
    sizes = np.array([batch, *shape][start:end], object)
    return sizes if any(size is BATCH or size is None for size in sizes) else sizes.astype(np.int64)


def _check_size(node: Node) -> None:
    arrays = [operand for operand in node.operands if isinstance(operand, np.ndarray)]
    size = sum(array.size for array in arrays)
    if node.operator in ("Add", "Sub", "Mul", "Div", "Mod"):
        size = math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    elif node.operator == "ConstantOfShape":
        size = math.prod(arrays[0].tolist())
    elif node.operator == "Gather":
        size = max(1, arrays[1].size) * arrays[0].size
    if size > max([LARGEST, *(array.size for array in arrays)]):
        raise node.refusal(f"it would make {size:,} numbers of constants")


def _constant(node: Node) -> np.ndarray:
    onnx = require_onnx()
    ((kind, value),) = node.attributes.items()
    if kind == "value":
        return np.asarray(onnx.numpy_helper.to_array(value))
    dtypes = {
        "value_int": np.int64,
        "value_ints": np.int64,
        "value_float": np.float32,
        "value_floats": np.float32,
    }
    if kind not in dtypes:
        raise node.refusal(f"its {kind} is not")
    return np.array(value, dtypes[kind])


def _cast(node: Node, x: np.ndarray) -> np.ndarray:
    (to, _, _) = node.take(to=None, saturate=1, round_mode=b"up")
    dtype = require_onnx().helper.tensor_dtype_to_np_dtype(to)
    if x.dtype == object and dtype.kind == "i":
        return x
    return x.astype(dtype)


def _slice(node: Node, x: np.ndarray, *bounds: np.ndarray | None) -> np.ndarray:
    starts, ends, axes, steps = (*bounds, None, None, None, None)[:4]
    if starts is None:  # before opset 10 they are attributes
        starts, ends, axes = (node.attributes.get(name) for name in ("starts", "ends", "axes"))
    index = [slice(None)] * x.ndim
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):  # type: ignore[arg-type]
        axis, step = (i if axes is None else int(axes[i])), (1 if steps is None else int(steps[i]))
        index[axis] = slice(int(start), int(end), step)
    return x[tuple(index)]


def _squeeze(node: Node, x: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    chosen = node.axes(x.ndim)
    return np.squeeze(x, None if chosen is None else tuple(chosen))


def _unsqueeze(node: Node, x: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    count = len(node.attributes["axes"]) if axes is None else axes.size
    return np.expand_dims(x, tuple(node.axes(x.ndim + count) or ()))


def _reshape(node: Node, x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    (allowzero,) = node.take(allowzero=0)
    sizes = shape.tolist()
    return x.reshape([x.shape[i] if size == 0 and not allowzero else size for i, size in enumerate(sizes)])


def _divide(node: Node, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "f":
        return np.asarray(x / y)
    if (x < 0).any() or (y < 1).any():
        raise node.refusal("only of sizes")
    return np.asarray(x // y)


def _filled(node: Node, shape: np.ndarray) -> np.ndarray:
    (value,) = node.take(value=None)
    fill = np.zeros(1, np.float32) if value is None else require_onnx().numpy_helper.to_array(value)
    return np.full(shape.tolist(), fill.reshape(-1)[0])


FOLD: dict[str, Callable[..., Any]] = {
    "Add": lambda node, x, y: x + y,
    "Cast": _cast,
    "Concat": lambda node, *parts: np.concatenate(parts, node.attributes["axis"]),
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Div": _divide,
    "Gather": lambda node, x, index: np.take(x, index.astype(np.int64), node.attributes.get("axis", 0)),
    "Identity": lambda node, x: x,
    "Mod": lambda node, x, y: np.fmod(x, y) if node.attributes.get("fmod") else np.mod(x, y),
    "Mul": lambda node, x, y: x * y,
    "Reshape": _reshape,
    "Shape": lambda node, x: np.array(x.shape[slice(*node.take(start=0, end=None))], np.int64),
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": lambda node, x, y: x - y,
    "Transpose": lambda node, x: x.transpose(node.attributes.get("perm")),
    "Unsqueeze": _unsqueeze,
}
