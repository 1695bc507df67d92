"""One ONNX operator as our layers, or a refusal that says why: the table RULES."""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpcnn.interop.onnx import _pooling, _reshape, _sample_norm, _table, _upscale, _weights
from xpcnn.interop.onnx._node import Node, decimal
from xpcnn.interop.onnx._reshape import Sizes
from xpcnn.layers import (
    Clip,
    Dropout,
    Flatten,
    Layer,
    PadChannels,
    ReLU,
    Reshape,
    Softmax,
)


def _dropout(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    ratio, _ = node.take(ratio=0.5, seed=0)
    given, training = node.constant(1), node.constant(2)
    if training is not None and training.any():
        raise node.refusal("in evaluation only: its training_mode is true")
    return [Dropout(decimal(ratio if given is None else given.reshape(())))]


def _pad(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    pads = _pooling.extra_padding(node, shape)
    extra = int(pads[1, 1])
    if pads.sum() != extra:
        raise node.refusal("only before a Conv, or with zeros after the last channel")
    return [PadChannels(extra)] if extra else []


def _softmax(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    """Before opset 13 all axes from the given one on are taken for one."""
    (axis,) = node.take(axis=-1 if node.opset >= 13 else 1)
    axis = node.axis(axis, len(shape) + 1)
    if axis == 0:
        raise node.refusal("not along the batch")
    if node.opset >= 13 or axis == len(shape):
        return [Softmax(-1 if axis == len(shape) else axis)]
    if axis > 1 or None in shape:
        raise node.refusal(f"not over several axes, as before opset 13 axis={axis} means")
    return [Flatten(), Softmax(), Reshape(shape)]  # type: ignore[arg-type]


def _clip(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    low, high = node.take(min=-np.inf, max=np.inf)
    for index, array in ((1, node.constant(1)), (2, node.constant(2))):
        if array is not None and array.size != 1:
            raise node.refusal(f"its operand {index} must be one number, got shape {array.shape}")
        if array is not None:
            low, high = (array.reshape(-1)[0], high) if index == 1 else (low, array.reshape(-1)[0])
    low, high = float(low), float(high)
    return [ReLU() if (low, high) == (0, np.inf) else Clip(low, high)]


RULES: dict[str, Callable[[Node, Sizes, Any], list[Layer]]] = {
    "AveragePool": _pooling.pooling,
    "BatchNormalization": _weights.batch_norm,
    "Clip": _clip,
    "Conv": _weights.conv,
    "ConvTranspose": _upscale.conv_transpose,
    "Dropout": _dropout,
    "Flatten": _reshape.flatten,
    "Gemm": _weights.gemm,
    "GlobalAveragePool": _pooling.global_average,
    "GlobalMaxPool": _pooling.global_max,
    "GroupNormalization": _sample_norm.group_norm,
    "Identity": lambda node, shape, batch: [],
    "InstanceNormalization": _sample_norm.instance_norm,
    "LayerNormalization": _sample_norm.layer_norm,
    "MatMul": _weights.matmul,
    "MaxPool": _pooling.pooling,
    "Pad": _pad,
    "ReduceMax": _pooling.reduce_max,
    "ReduceMean": _pooling.reduce_mean,
    "Reshape": _reshape.reshape,
    "Resize": _upscale.resize,
    "Softmax": _softmax,
    "Squeeze": _reshape.squeeze,
    "Transpose": _reshape.transpose,
    "Unsqueeze": _reshape.unsqueeze,
    "Upsample": _upscale.upsample,
    **dict.fromkeys(_table.TABLE, _table.read),
}
