"""Operators with weights: Conv, Gemm, MatMul, BatchNormalization, and arithmetic with constants."""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpcnn.backend import to_device
from xpcnn.interop.onnx import _pooling
from xpcnn.interop.onnx._node import Node, decimal
from xpcnn.interop.onnx._reshape import Sizes
from xpcnn.layers import Affine, BatchNorm, Conv, Layer, Scale


def _given(array: np.ndarray) -> Callable[..., np.ndarray]:
    """An initializer that draws nothing: it returns this array."""
    return lambda shape, rng: np.array(array, order="C")


def conv(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    weight = node.weights(1, 4)
    bias = node.weights(2, 1) if node.constant(2) is not None else None
    window, (dilation, _, groups) = _pooling.window(node, shape, weight.shape[2:], group=1)
    if groups < 1 or (bias is not None and bias.shape != weight.shape[:1]):
        raise node.refusal(f"its group {groups} or its bias does not fit a weight of shape {weight.shape}")
    layer = Conv(
        weight.shape[1] * groups, weight.shape[0], **window, dilation=dilation, groups=groups,
        bias=bias is not None, initializer=_given(weight),
    )  # fmt: skip
    if layer.bias is not None:
        layer.bias.data = to_device(np.array(bias))
    return [layer]


def gemm(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    alpha, beta, trans_a, trans_b = node.take(alpha=1.0, beta=1.0, transA=0, transB=0)
    weight = node.weights(1, 2)
    bias = node.weights(2) if node.constant(2) is not None else None
    if trans_a or len(shape) != 1:
        raise node.refusal("only as x W + b with samples in rows")
    weight = weight if trans_b else weight.T
    if bias is not None:
        bias = bias if beta == 1 else bias * bias.dtype.type(beta)
    return [affine(node, weight if alpha == 1 else weight * weight.dtype.type(alpha), bias)]


def matmul(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    node.take()
    if len(shape) != 1:
        raise node.refusal("only on (N, features); flatten before it")
    return [affine(node, node.weights(1, 2).T, None)]


def affine(node: Node, weight: np.ndarray, bias: np.ndarray | None) -> Affine:
    """Return a layer with this weight, (O, I), and a bias that may be of one row or one number."""
    layer = Affine(weight.shape[1], weight.shape[0], bias=bias is not None, initializer=_given(weight))
    if layer.bias is not None and bias is not None:
        if bias.ndim > 2 or bias.shape[:-1] not in ((), (1,)):
            raise node.refusal(f"its bias of shape {bias.shape} differs from sample to sample")
        layer.bias.data = to_device(np.array(np.broadcast_to(bias.reshape(-1), weight.shape[:1])))
    return layer


def batch_norm(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    eps, momentum, training, spatial = node.take(epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1)
    if training or not spatial:
        raise node.refusal("in evaluation only, with one mean a channel")
    arrays = [node.weights(index, 1) for index in range(1, 5)]
    if len({array.shape for array in arrays}) != 1:
        raise node.refusal("its four constants must be of one length")
    layer = BatchNorm(len(arrays[0]), decimal(eps), decimal(1 - decimal(momentum)))
    own: tuple[Any, ...] = (layer.weight, layer.bias, layer.running_mean, layer.running_variance)
    for value, array in zip(own, arrays, strict=True):
        value.data = to_device(np.array(array))
    return [layer]


def arithmetic(node: Node, shape: Sizes, batch: Any) -> Scale:
    """A value and a constant, one number or one a channel: y = weight x + bias."""
    node.take()
    position = next(i for i, operand in enumerate(node.operands) if not isinstance(operand, str))
    number = node.weights(position)
    behind = (1,) * (len(shape) - 1)
    if len(node.operands) != 2 or shape[0] is None or number.size not in (1, shape[0]):
        raise node.refusal("it joins a constant that is neither one number nor one a channel")
    if number.ndim > len(shape) + 1 or (
        number.size > 1 and number.shape not in ((shape[0], *behind), (1, shape[0], *behind))
    ):
        raise node.refusal(f"it joins a constant of shape {number.shape}, which is not one number a channel")
    if node.operator == "Div" and position == 0:
        raise node.refusal("only of a value by a constant")
    with np.errstate(all="ignore"):
        number = np.broadcast_to(number.reshape(-1), shape[:1])  # type: ignore[arg-type]
        subtracted = (-1, number) if position == 0 else (1, -number)
        cases = {"Add": (1, number), "Mul": (number, 0), "Div": (1 / number, 0), "Sub": subtracted}
    weight, bias = cases[node.operator]
    layer = Scale(shape[0])
    for parameter, values in ((layer.weight, weight), (layer.bias, bias)):
        parameter.data = to_device(np.full(shape[:1], values, number.dtype))
    return layer
