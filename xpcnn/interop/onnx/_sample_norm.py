"""Normalisation of each sample by itself: as one operator, and taken apart as older operator sets need it."""

from collections.abc import Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np

from xpcnn.backend import to_device, to_host
from xpcnn.interop.onnx._node import Node, decimal
from xpcnn.interop.onnx._pooling import reduced
from xpcnn.interop.onnx._reshape import Sizes
from xpcnn.layers import GroupNorm, Layer, LayerNorm

Norm: TypeAlias = GroupNorm | LayerNorm
N = TypeVar("N", GroupNorm, LayerNorm)
STASH_TYPES = (1, 11)
"""FLOAT and DOUBLE, in which statistics may be taken."""


def instance_norm(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    (eps,) = node.take(epsilon=1e-5)
    weight, bias = node.weights(1, 1), node.weights(2, 1)
    if len(shape) < 2:
        raise node.refusal("only on images, (N, C, ...)")
    return [_group_norm(node, shape, len(weight), eps, weight, bias)]


def group_norm(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    """Since opset 21 scale and bias are one number a channel; the operator of opset 18 is withdrawn."""
    eps, groups, stash = node.take(epsilon=1e-5, num_groups=0, stash_type=1)
    if node.opset < 21 or stash not in STASH_TYPES:
        raise node.refusal(f"only since opset 21 and in single precision, got stash_type={stash}")
    return [_group_norm(node, shape, groups, eps, node.weights(1, 1), node.weights(2, 1))]


def layer_norm(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    eps, axis, stash = node.take(epsilon=1e-5, axis=-1, stash_type=1)
    axis = node.axis(axis, len(shape) + 1)
    if axis == 0 or None in shape[axis - 1 :] or stash not in STASH_TYPES:
        raise node.refusal("only over axes of fixed size behind the batch, in single precision")
    sizes: Any = shape[axis - 1 :]
    layer = LayerNorm(sizes, decimal(eps))
    bias = np.zeros(sizes, node.dtype) if node.constant(2) is None else node.weights(2)
    return [_filled(layer, np.broadcast_to(node.weights(1), sizes), np.broadcast_to(bias, sizes))]


def grouped(reshape: Node, norm: Node, apart: Node, shapes: Mapping[str, Sizes]) -> GroupNorm | None:
    """Return the GroupNorm that is a Reshape to (N, G, ...), an InstanceNormalization and a Reshape back."""
    shape, target = shapes.get(apart.sources[0]), reshape.constant(1)
    if not shape or None in shape or apart.error or not norm.layers or target is None:
        return None
    inner, channels = norm.layers[0], shape[0]
    if (
        not isinstance(inner, GroupNorm)
        or channels % inner.channels  # type: ignore[operator]
        or reshape.attributes.get("allowzero", 0)
        or tuple(target.tolist()[1:]) != shape
    ):
        return None
    layer = GroupNorm(inner.channels, channels, inner.eps)  # type: ignore[arg-type]
    weight, bias = (
        np.repeat(to_host(p.data), channels // inner.channels)  # type: ignore[operator]
        for p in inner.parameters()
    )
    return _filled(layer, weight, bias)


def over_last_axes(node: Node, means: tuple[Node, Node], eps: Any, shape: Sizes) -> LayerNorm | None:
    """Return the LayerNorm of (x - mean) / sqrt(mean of squares + eps), weights 1 and 0; None over other axes."""
    if None in shape:
        return None
    rank = len(shape) + 1
    for mean in means:
        axes, keep, _ = reduced(mean, shape)
        if not keep or axes != set(range(min(axes), rank)) or axes != reduced(means[0], shape)[0]:
            return None
    sizes: Any = shape[min(axes) - 1 :]
    ones = np.ones(sizes, node.dtype)
    return _filled(LayerNorm(sizes, decimal(eps)), ones, 0 * ones)


def absorbs(layer: Norm, node: Node, shape: Sizes) -> bool:
    """Take a constant that multiplies or shifts a normalisation without weights as its weights; whether it fits."""
    number = next(operand for operand in node.operands if isinstance(operand, np.ndarray))
    weight, bias = (to_host(parameter.data) for parameter in (layer.weight, layer.bias))
    if (
        number.dtype != node.dtype
        or number.ndim > len(shape) + 1
        or (node.operator == "Mul" and (weight != 1).any())
    ):
        return False
    if bias.any():
        return False
    sizes = layer.shape if isinstance(layer, LayerNorm) else (layer.channels, *[1] * (len(shape) - 1))
    while number.ndim > len(sizes) and len(number) == 1:
        number = number[0]
    if number.ndim > len(sizes) or any(
        n not in (1, size) for n, size in zip(number.shape[::-1], sizes[::-1], strict=False)
    ):
        return False
    node.take()
    parameter = layer.weight if node.operator == "Mul" else layer.bias
    parameter.data = to_device(np.array(np.broadcast_to(number, sizes)).reshape(weight.shape))
    return True


def _group_norm(node: Node, shape: Sizes, groups: int, eps: Any, weight: Any, bias: Any) -> GroupNorm:
    channels = len(weight)
    if shape[0] not in (None, channels) or len(bias) != channels or groups < 1 or channels % groups:
        raise node.refusal(
            f"its {channels} and {len(bias)} weights in {groups} groups do not fit {shape[0]} channels"
        )
    return _filled(GroupNorm(groups, channels, decimal(eps)), weight, bias)


def _filled(layer: N, weight: np.ndarray, bias: np.ndarray) -> N:
    layer.weight.data, layer.bias.data = to_device(np.array(weight)), to_device(np.array(bias))
    return layer
