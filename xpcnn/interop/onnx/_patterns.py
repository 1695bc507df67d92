"""Several operators that are one layer: RadialBasis as export writes it, normalisations as PyTorch does, padding."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from xpcnn.backend import to_device
from xpcnn.interop.onnx import _sample_norm, _smooth
from xpcnn.interop.onnx._layers import RULES
from xpcnn.interop.onnx._node import Node, decimal
from xpcnn.interop.onnx._pooling import extra_padding
from xpcnn.interop.onnx._reshape import Sizes
from xpcnn.layers import Layer, LocalResponseNorm
from xpcnn.models.lenet5_1998 import _RadialBasis

Found: TypeAlias = tuple[list[Layer], str, list[Node]]
"""The layers, the value that they read, and the operators before the last that they stand for."""


def radial_basis(neg: Node, nodes: Mapping[str, Node], shapes: Mapping[str, Sizes]) -> Found | None:
    """Find -sum (x - centers)^2, x one row and the centers several: Unsqueeze, Sub, ReduceSumSquare, Neg."""
    parts = _before(neg, nodes, "ReduceSumSquare", "Sub", "Unsqueeze")
    if parts is None:
        return None
    total, difference, unsqueeze = parts
    (x,) = unsqueeze.sources
    centers = next((operand for operand in difference.operands if isinstance(operand, np.ndarray)), None)
    _, keep, noop = total.take(axes=None, keepdims=1, noop_with_empty_axes=0)
    if (
        centers is None
        or centers.dtype != neg.dtype
        or centers.ndim != 2
        or shapes.get(x) != centers.shape[1:]
        or unsqueeze.axes(3) != [1]
        or total.axes(3) != [2]
        or keep
        or noop
    ):
        return None
    layer = _RadialBasis(centers.shape[1], centers.shape[0])
    layer.centers.data = to_device(np.array(centers))
    return [layer], x, parts


def local_response_norm(div: Node, nodes: Mapping[str, Node], shapes: Mapping[str, Sizes]) -> Found | None:
    """Find x / (k + alpha mean of x^2 over neighbours)^beta, the mean taken by a pooling in three dimensions."""
    if len(div.sources) != 2 or len(shapes.get(div.sources[0], ())) != 3:
        return None
    x, shape = div.sources[0], shapes[div.sources[0]]
    parts = _before(
        div,
        nodes,
        "Pow",
        "Add",
        "Mul",
        "Squeeze|Reshape",
        "AveragePool",
        "Pad",
        "Reshape|Unsqueeze",
        "Mul",
        last=1,
    )
    if parts is None:
        return None
    power, add, scale, back, mean, pad, apart, square = parts
    numbers = [
        next((o for o in part.operands if isinstance(o, np.ndarray) and o.size == 1), None)
        for part in (power, add, scale)
    ]
    if any(number is None for number in numbers) or not isinstance(power.operands[1], np.ndarray):
        return None
    beta, k, alpha = (decimal(number.reshape(())) for number in numbers if number is not None)
    size = (mean.attributes.get("kernel_shape") or [0])[0]
    expected = np.zeros((2, 5), np.int64)
    expected[:, 2] = size // 2, (size - 1) // 2
    plain = {"kernel_shape": [size, 1, 1], "strides": [1, 1, 1], "pads": [0] * 6, "ceil_mode": 0}
    if (
        square.sources != [x, x]
        or shapes.get(square.output) != shape
        or shapes.get(apart.output) != (1, *shape)
        or any(mean.attributes.get(name, value) != value for name, value in plain.items())
        or mean.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
        or mean.attributes.get("dilations", [1, 1, 1]) != [1, 1, 1]
        or (extra_padding(pad, (1, *shape)) != expected).any()
        or not _takes_one_axis_out(back, shape)
    ):
        return None
    return [LocalResponseNorm(size, alpha, beta, k)], x, parts


def group_norm(reshape: Node, nodes: Mapping[str, Node], shapes: Mapping[str, Sizes]) -> Found | None:
    """Find a normalisation of each channel between two Reshapes, the channels of a group as one before it."""
    parts = _before(reshape, nodes, "InstanceNormalization", "Reshape")
    layer = _sample_norm.grouped(reshape, parts[0], parts[1], shapes) if parts else None
    return ([layer], parts[1].sources[0], parts) if layer and parts else None


def layer_norm(div: Node, nodes: Mapping[str, Node], shapes: Mapping[str, Sizes]) -> Found | None:
    """Find d / sqrt(mean of d^2 + eps), where d = x - mean of x over the same last axes."""
    parts = _before(div, nodes, "Sqrt", "Add", "ReduceMean", "Pow|Mul", last=1)
    if parts is None or (difference := nodes.get(div.sources[0])) is None or difference.operator != "Sub":
        return None
    _, add, variance, square = parts
    mean = nodes.get(difference.sources[-1])
    eps, exponent = (
        [o for o in part.operands if isinstance(o, np.ndarray) and o.size == 1] for part in (add, square)
    )
    squares = (
        len(exponent) == 1 and exponent[0] == 2 and isinstance(square.operands[0], str)
        if square.operator == "Pow"
        else square.sources == [difference.output] * 2
    )
    if (
        mean is None
        or mean.operator != "ReduceMean"
        or mean.readers != 1
        or difference.sources != [*mean.sources[:1], mean.output]
        or difference.readers != 1 + len(square.sources)
        or square.sources[0] != difference.output
        or not squares
        or len(eps) != 1
    ):
        return None
    x = mean.sources[0]
    layer = _sample_norm.over_last_axes(div, (mean, variance), eps[0].reshape(()), shapes.get(x, (None,)))
    return ([layer], x, [*parts, difference, mean]) if layer else None


def padded_conv(conv: Node, nodes: Mapping[str, Node], shapes: Mapping[str, Sizes]) -> Found | None:
    """Find a Conv behind a Pad that puts zeros around the image: the Conv pads as much more."""
    parts = _before(conv, nodes, "Pad")
    if parts is None or len(shapes.get(parts[0].sources[0], ())) != 3 or len(conv.sources) != 1:
        return None
    (pad,), x = parts, parts[0].sources[0]
    extra = extra_padding(pad, shapes[x])
    if extra[:, :2].any() or conv.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return None
    own = np.array(conv.attributes.get("pads", [0] * 4))
    if own.any() and conv.attributes.get("auto_pad") == b"VALID":
        return None
    conv.attributes |= {"auto_pad": b"NOTSET", "pads": (own + extra[:, 2:].reshape(-1)).tolist()}
    return RULES["Conv"](conv, shapes[x], None), x, parts


def _takes_one_axis_out(node: Node, shape: Sizes) -> bool:
    if node.operator == "Squeeze":
        return node.axes(5) == [1]
    target = node.constant(1)
    return target is not None and tuple(target.tolist()[1:]) == shape


def _before(node: Node, nodes: Mapping[str, Node], *operators: str, last: int = 0) -> list[Node] | None:
    """Return the nodes, last first, that lead to this one, if they are of these kinds and nobody else reads them."""
    found: list[Node] = []
    source = node.sources[last] if len(node.sources) > last else ""
    for kinds in operators:
        part = nodes.get(source)
        if part is None or part.operator not in kinds.split("|") or part.readers != 1 or not part.sources:
            return None
        found.append(part)
        source = part.sources[0]
    return found


def find(node: Node, nodes: Mapping[str, Node], shapes: Mapping[str, Sizes]) -> Found | None:
    """Return what an operator is the last part of, if it is the last part of a layer."""
    found = (pattern(node, nodes, shapes) for pattern in PATTERNS.get(node.operator, ()))
    return next((parts for parts in found if parts), None)


Pattern: TypeAlias = Callable[[Node, Mapping[str, Node], Mapping[str, Sizes]], Found | None]
PATTERNS: dict[str, tuple[Pattern, ...]] = {
    "Conv": (padded_conv,),
    "Div": (layer_norm, local_response_norm),
    "Mul": (_smooth.product,),
    "Neg": (radial_basis,),
    "Reshape": (group_norm,),
}
INSIDE = ("Div", "Erf", "Neg", "Pow", "ReduceSumSquare", "Sqrt", "Sub")
"""Operators that are known as parts of these, and have no rule of their own when both operands are values."""
