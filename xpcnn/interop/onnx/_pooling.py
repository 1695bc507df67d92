"""Sliding windows and means over whole images."""

from typing import Any

import numpy as np

from xpcnn.geometry import Window
from xpcnn.interop.onnx._node import Node
from xpcnn.interop.onnx._reshape import Sizes, reshaped
from xpcnn.layers import GlobalAveragePooling, GlobalMaxPooling, Layer, Pooling, Reshape


def window(node: Node, shape: Sizes, kernel: Any, **more: Any) -> tuple[dict[str, Any], list[Any]]:
    """Read a sliding window's attributes; return our keywords, and the values of those in `more`."""
    auto, given, strides, pads, dilations, *rest = node.take(
        auto_pad=b"NOTSET", kernel_shape=kernel, strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), **more
    )
    if (
        given is None
        or len(shape) != 3
        or [len(x) for x in (given, strides, pads, dilations)] != [2, 2, 4, 2]
    ):
        raise node.refusal("only on images, (N, C, H, W)")
    if kernel is not None and tuple(given) != tuple(kernel):
        raise node.refusal(f"its kernel_shape {given} is not that of its weight, {list(kernel)}")
    if min(pads) < 0:
        raise node.refusal(f"its pads {pads} crop the image, and only zeros around it are")
    if auto != b"NOTSET" and any(pads):
        raise node.refusal("its pads contradict its auto_pad")
    if auto in (b"SAME_UPPER", b"SAME_LOWER") and tuple(dilations) != (1, 1):
        raise node.refusal("its auto_pad not together with its dilations")
    top, left, bottom, right = pads
    padding: Any = ((top, bottom), (left, right))
    if auto == b"SAME_UPPER":
        padding = "same"
    elif auto == b"SAME_LOWER":
        padding = _same_lower(node, shape, Window(tuple(given), tuple(strides), "same", tuple(dilations)))
    elif auto not in (b"NOTSET", b"VALID"):
        raise node.refusal(f"its auto_pad={auto!r} is not")
    found = {"kernel_size": tuple(given), "stride": tuple(strides), "padding": padding}
    return found, [tuple(dilations), auto, *rest]


def _same_lower(node: Node, shape: Sizes, same: Window) -> Any:
    """As "same", with the odd element of padding at the beginning; it depends on the image's size."""
    if None in shape:
        raise node.refusal("auto_pad=SAME_LOWER not where the file leaves the image's size open")
    (top, bottom), (left, right) = same.pads(*shape[1:])  # type: ignore[arg-type]
    return (bottom, top), (right, left)


def pooling(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    # storage_order numbers the second output, which nobody reads here
    found, (dilation, auto, ceil, include, _) = window(
        node, shape, None, ceil_mode=0, count_include_pad=0, storage_order=0
    )
    if any(d > 1 and k > 1 for d, k in zip(dilation, found["kernel_size"], strict=True)):
        raise node.refusal("not dilated")
    mode: Any = "max" if node.operator == "MaxPool" else "average"
    same = auto in (b"SAME_UPPER", b"SAME_LOWER")
    if same and _crops(shape[1:], found["kernel_size"], found["stride"]):
        raise node.refusal(
            "its auto_pad not together with strides so much longer than the window that they crop"
        )
    rounding: Any = "ceil" if ceil and not same else "floor"
    include = bool(include) and mode == "average" and found["padding"] != ((0, 0), (0, 0))
    layer = Pooling(**found, mode=mode, rounding=rounding, count_include_pad=include)
    return [layer]


def _crops(size: Sizes, kernel: tuple[int, int], stride: tuple[int, int]) -> bool:
    """Whether "same" asks for two pixels of negative padding, one at the beginning; one at the end does no harm."""
    if None in size:
        return any(s > k + 1 for s, k in zip(stride, kernel, strict=True))
    return any((L - 1) // s * s + k - L < -1 for L, k, s in zip(size, kernel, stride, strict=True))  # type: ignore[operator]


def reduce_mean(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    """The mean over one or both of the image's axes."""
    axes, keep, after = reduced(node, shape)
    if axes == {2, 3}:
        layers: list[Layer] = [GlobalAveragePooling()]
        return layers + ([Reshape(after)] if keep else [])  # type: ignore[arg-type]
    lone = [1 if size is None or axis not in axes else size for axis, size in enumerate(shape, 1)]
    if len(shape) == 2 and axes == {2} and None not in shape:
        return [Reshape((*shape, 1)), *_mean((lone[1], 1)), *reshaped(node, (*shape[:1], 1, 1), after)]  # type: ignore[arg-type]
    if len(shape) != 3 or None in shape or not axes <= {2, 3}:
        raise node.refusal("only over the axes of an image")
    kernel = (lone[1], lone[2])
    left = (shape[0], 1 if 2 in axes else shape[1], 1 if 3 in axes else shape[2])
    return [*_mean(kernel), *reshaped(node, left, after)]


def reduce_max(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    """The maximum over both of the image's axes."""
    axes, keep, after = reduced(node, shape)
    if axes != {2, 3} or len(shape) != 3 or (keep and shape[0] is None):
        raise node.refusal("only over both axes of an image")
    return [GlobalMaxPooling(), *([Reshape(after)] if keep else [])]  # type: ignore[arg-type]


def global_average(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    return _whole(GlobalAveragePooling(), node, shape)


def global_max(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    return _whole(GlobalMaxPooling(), node, shape)


def _whole(layer: Layer, node: Node, shape: Sizes) -> list[Layer]:
    """Our layer of a whole image gives (N, C), the operator (N, C, 1, 1)."""
    node.take()
    if len(shape) != 3 or shape[0] is None:
        raise node.refusal("only on images, (N, C, H, W)")
    return [layer, Reshape((shape[0], 1, 1))]


def _mean(kernel: tuple[int, int]) -> list[Layer]:
    return [Pooling(kernel, mode="average")]


def reduced(node: Node, shape: Sizes) -> tuple[set[int], bool, Sizes]:
    """Return the axes, whether they are kept with one element, and the shape of a sample afterwards."""
    _, keep, noop = node.take(axes=None, keepdims=1, noop_with_empty_axes=0)
    axes = node.axes(len(shape) + 1)
    if not axes or noop or 0 in axes or len(set(axes)) != len(axes):
        raise node.refusal("only over axes that are given, and not over the batch")
    kept = (1 if axis in axes else size for axis, size in enumerate(shape, 1))
    after = tuple(size for axis, size in enumerate(kept, 1) if keep or axis not in axes)
    return set(axes), bool(keep), after


def extra_padding(node: Node, shape: Sizes) -> np.ndarray:
    """Return the zeros that a Pad operator puts around a value, (2, axes): before and after each axis."""
    rank = len(shape) + 1
    pads, mode, value = node.take(pads=None, mode=b"constant", value=0.0)
    given = node.constant(1) if pads is None else np.array(pads)
    if len(node.operands) > 2 and (filled := node.constant(2)) is not None:
        value = filled.reshape(-1)[0] if filled.size else 0.0
    axes = node.constant(3)
    if mode != b"constant" or value != 0:
        raise node.refusal("only with zeros")
    full = np.zeros((2, rank), np.int64)
    chosen = list(range(rank)) if axes is None else [node.axis(int(axis), rank) for axis in axes.reshape(-1)]
    if given is None or given.size != 2 * len(chosen):
        raise node.refusal("only with its pads given as a constant")
    full[:, chosen] = given.reshape(2, -1)
    if full.min() < 0:
        raise node.refusal(f"its pads {given.tolist()} crop, and only zeros around the image are")
    return full
