"""GELU and SiLU as several operators: a value times a function of itself."""

import math
from collections.abc import Mapping

import numpy as np

from xpcnn.interop.onnx._node import Node
from xpcnn.interop.onnx._reshape import Sizes
from xpcnn.layers import GELU, Layer, SiLU

Found = tuple[list[Layer], str, list[Node]] | None


def product(mul: Node, nodes: Mapping[str, Node], shapes: Mapping[str, Sizes]) -> Found:
    """Find x sigmoid(x), or x (1 + erf(x / sqrt 2)) / 2 with its factors in any order."""
    numbers, values, parts = _factors(mul, nodes)
    if len(values) != 2:
        return None
    for x, function in (values, values[::-1]):
        inner = nodes.get(function)
        if inner is None or inner.readers != 1 or not inner.sources:
            continue
        if inner.operator == "Sigmoid" and inner.sources == [x] and not (numbers or inner.error):
            return [SiLU()], x, [*parts, inner]
        within = _normal(inner, x, nodes)
        if within and len(numbers) == 1 and numbers[0] == 0.5:
            return [GELU()], x, [*parts, *within]
    return None


def _factors(mul: Node, nodes: Mapping[str, Node]) -> tuple[list[float], list[str], list[Node]]:
    """Return the numbers and the values that a product multiplies, and the products inside it."""
    numbers: list[float] = []
    values: list[str] = []
    parts: list[Node] = []
    for operand in mul.operands:
        if isinstance(operand, np.ndarray):
            numbers.append(_number(operand))
        elif isinstance(operand, str):
            inner = nodes.get(operand)
            if inner is not None and inner.operator == "Mul" and inner.readers == 1 and not _is_layer(inner):
                more = _factors(inner, nodes)
                numbers, values, parts = numbers + more[0], values + more[1], [*parts, inner, *more[2]]
            else:
                values.append(operand)
    return numbers, values, parts


def _is_layer(mul: Node) -> bool:
    """Whether a product has been read as SiLU or GELU already."""
    return any(isinstance(layer, (GELU, SiLU)) for layer in mul.layers)


def _normal(add: Node, x: str, nodes: Mapping[str, Node]) -> list[Node] | None:
    """Return the operators of 1 + erf(x / sqrt 2)."""
    if add.operator != "Add" or len(add.sources) != 1 or _constant(add) != 1:
        return None
    erf = nodes.get(add.sources[0])
    if erf is None or erf.operator != "Erf" or erf.readers != 1 or len(erf.sources) != 1:
        return None
    scaled = nodes.get(erf.sources[0])
    if scaled is None or scaled.readers != 1 or scaled.sources != [x]:
        return None
    factor = _constant(scaled)
    if scaled.operator == "Div" and isinstance(scaled.operands[0], str):
        factor = 1 / factor if factor else 0.0
    elif scaled.operator != "Mul":
        return None
    return [add, erf, scaled] if math.isclose(factor, math.sqrt(0.5), rel_tol=1e-6) else None


def _constant(node: Node) -> float:
    constants = [operand for operand in node.operands if isinstance(operand, np.ndarray)]
    return _number(constants[0]) if len(constants) == 1 else math.nan


def _number(array: np.ndarray) -> float:
    """Return an array that is one number, of no more axes than any value has; NaN otherwise."""
    return (
        float(array.reshape(()))
        if array.size == 1 and array.ndim <= 2 and array.dtype.kind == "f"
        else math.nan
    )
