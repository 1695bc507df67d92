"""One ONNX operator as one of our layers, or a refusal that says why."""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpcnn.backend import to_device
from xpcnn.errors import CheckpointError
from xpcnn.interop.onnx_export import require_onnx
from xpcnn.layers import (
    Affine,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    Layer,
    LocalResponseNorm,
    PadChannels,
    Pooling,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)


class Node:
    """An operator with its attributes as Python values, and its inputs parted into values and constants."""

    def __init__(self, proto: Any, constants: dict[str, np.ndarray], file: str) -> None:
        onnx = require_onnx()
        self.operator, self.name, self.output, self.file = proto.op_type, proto.name, proto.output[0], file
        if proto.domain not in ("", "ai.onnx"):
            self.operator = f"{proto.domain}.{proto.op_type}"
        self.attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
        self.inputs = [name for name in proto.input if name and name not in constants]
        self.constants = [constants[name] for name in proto.input if name in constants]

    def take(self, **defaults: Any) -> list[Any]:
        """Return attributes in the order asked for; refuse one that is not asked for."""
        unknown = self.attributes.keys() - defaults.keys()
        if unknown:
            raise self.refusal(f"its {min(unknown)}={self.attributes[min(unknown)]!r} is not")
        return [self.attributes.get(name, default) for name, default in defaults.items()]

    def refusal(self, why: str) -> CheckpointError:
        return CheckpointError(
            f"{self.file}: the operator {self.operator} ({self.name or self.output}) is known here, but {why}; "
            "export the model with plain layers of fixed sizes"
        )


def _given(array: np.ndarray) -> Callable[..., np.ndarray]:
    """An initializer that draws nothing: it returns this array."""
    return lambda shape, rng: np.array(array, np.float32)


def _window(node: Node, **more: Any) -> tuple[dict[str, Any], list[Any]]:
    """Read a sliding window's attributes; return our keywords, and the values of those in `more`."""
    auto, kernel, strides, pads, dilations, *rest = node.take(
        auto_pad=b"NOTSET", kernel_shape=None, strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), **more
    )
    if len(strides) != 2 or auto == b"SAME_LOWER":
        raise node.refusal("only in two dimensions, and padding more at the end than at the beginning")
    top, left, bottom, right = pads
    padding: Any = ((top, bottom), (left, right))
    if auto in (b"SAME_UPPER", b"VALID"):
        padding = "same" if auto == b"SAME_UPPER" else "valid"
    window = {"kernel_size": kernel and tuple(kernel), "stride": tuple(strides), "padding": padding}
    return window, [tuple(dilations), *rest]


def _conv(node: Node) -> list[Layer]:
    if not 1 <= len(node.constants) <= 2 or len(node.inputs) != 1:
        raise node.refusal("its weights must be constants")
    weight, *bias = node.constants
    window, (dilation, groups) = _window(node, group=1)
    window["kernel_size"] = weight.shape[2:]
    layer = Conv(
        weight.shape[1] * groups, weight.shape[0], **window, dilation=dilation, groups=groups, bias=bool(bias),
        initializer=_given(weight),
    )  # fmt: skip
    if layer.bias is not None:
        layer.bias.data = to_device(np.array(bias[0], np.float32))
    return [layer]


def _pooling(node: Node) -> list[Layer]:
    window, (dilation, ceil, include, _) = _window(node, ceil_mode=0, count_include_pad=0, storage_order=0)
    if dilation != (1, 1):
        raise node.refusal("not dilated")
    mode: Any = "max" if node.operator == "MaxPool" else "average"
    rounding: Any = "ceil" if ceil else "floor"
    return [Pooling(**window, mode=mode, rounding=rounding, count_include_pad=bool(include))]


def _gemm(node: Node) -> list[Layer]:
    alpha, beta, trans_a, trans_b = node.take(alpha=1.0, beta=1.0, transA=0, transB=0)
    if (alpha, beta, trans_a) != (1, 1, 0) or not 1 <= len(node.constants) <= 2 or len(node.inputs) != 1:
        raise node.refusal("only as x W + b, W and b constants")
    weight, *bias = node.constants
    weight = weight if trans_b else weight.T
    layer = Affine(weight.shape[1], weight.shape[0], bias=bool(bias), initializer=_given(weight))
    if layer.bias is not None:
        layer.bias.data = to_device(np.array(np.broadcast_to(bias[0], weight.shape[0]), np.float32))
    return [layer]


def _batch_norm(node: Node) -> list[Layer]:
    eps, momentum, training = node.take(epsilon=1e-5, momentum=0.9, training_mode=0)
    if training or len(node.constants) != 4:
        raise node.refusal("in evaluation only, with constant weights")
    layer = BatchNorm(len(node.constants[0]), round(eps, 10), round(1 - momentum, 7))
    own: tuple[Any, ...] = (layer.weight, layer.bias, layer.running_mean, layer.running_variance)
    for value, array in zip(own, node.constants, strict=True):
        value.data = to_device(np.array(array, np.float32))
    return [layer]


def _lrn(node: Node) -> list[Layer]:
    size, alpha, beta, k = node.take(size=None, alpha=1e-4, beta=0.75, bias=1.0)
    if size % 2 == 0:
        raise node.refusal("of an odd size")
    return [LocalResponseNorm(size, alpha, beta, k)]


def _dropout(node: Node) -> list[Layer]:
    (ratio, _) = node.take(ratio=0.5, seed=0)
    return [Dropout(float(np.float32(node.constants[0])) if node.constants else ratio)]


def _reshape(node: Node) -> list[Layer]:
    (allowzero,) = node.take(allowzero=0)
    if (
        allowzero
        or not node.constants
        or tuple(node.constants[0]) not in ((0, -1), (-1, *node.constants[0][1:2]))
    ):
        raise node.refusal("only to (N, -1)")
    return [Flatten()]


def _flatten(node: Node) -> list[Layer]:
    if node.take(axis=1) != [1]:
        raise node.refusal("from axis 1 only")
    return [Flatten()]


def _pad(node: Node) -> list[Layer]:
    pads, *value = node.constants
    extra = int(pads.reshape(2, -1)[1, 1])
    if node.take(mode=b"constant") != [b"constant"] or pads.sum() != extra or any(v != 0 for v in value):
        raise node.refusal("only with zeros after the last channel")
    return [PadChannels(extra)]


LAYERS: dict[str, Callable[[Node], list[Layer]]] = {
    "Conv": _conv,
    "MaxPool": _pooling,
    "AveragePool": _pooling,
    "Gemm": _gemm,
    "BatchNormalization": _batch_norm,
    "LRN": _lrn,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Pad": _pad,
    "Relu": lambda node: [ReLU()],
    "Sigmoid": lambda node: [Sigmoid()],
    "Tanh": lambda node: [Tanh()],
    "Softmax": lambda node: [Softmax(*node.take(axis=-1))],
    "Identity": lambda node: [],
}
