"""Operators that make images larger: ConvTranspose, Resize, and Upsample, as Resize was called before."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpcnn.backend import to_device
from xpcnn.interop.onnx._node import Node
from xpcnn.interop.onnx._pooling import window
from xpcnn.interop.onnx._reshape import Sizes
from xpcnn.layers import ConvTranspose, Layer, Upsample

HALF_PIXEL = (b"half_pixel", b"half_pixel_symmetric", b"pytorch_half_pixel")
"""Pixel p lies at (p + 1/2) / scale - 1/2. The three differ only for scales that are no whole numbers."""

FROM_CORNER = (b"asymmetric", b"tf_half_pixel_for_nn")
"""Pixel p lies at p / scale, or (p + 1/2) / scale: rounded down, both are the pixel that is repeated."""


def conv_transpose(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    weight = node.weights(1, 4)
    bias = node.weights(2, 1) if node.constant(2) is not None else None
    if (auto := node.attributes.get("auto_pad", b"NOTSET")) not in (b"NOTSET", b"VALID"):
        raise node.refusal(f"its auto_pad={auto!r} is not; only pads in numbers")
    if "output_shape" in node.attributes:
        raise node.refusal("its output_shape is not; only pads and output_padding")
    found, (dilation, _, groups, extra) = window(
        node, shape, weight.shape[2:], group=1, output_padding=(0, 0)
    )
    outputs = weight.shape[1] * groups
    if groups < 1 or weight.shape[0] % groups or (bias is not None and bias.shape != (outputs,)):
        raise node.refusal(f"its group {groups} or its bias does not fit a weight of shape {weight.shape}")
    if len(extra) != 2 or not all(0 <= e < s for e, s in zip(extra, found["stride"], strict=True)):
        raise node.refusal(
            f"its output_padding {list(extra)} must be smaller than its strides {list(found['stride'])}"
        )
    layer = ConvTranspose(
        weight.shape[0], outputs, **found, output_padding=tuple(extra), dilation=dilation, groups=groups,
        bias=bias is not None, initializer=lambda shape, rng: np.array(weight, order="C"),
    )  # fmt: skip
    if layer.bias is not None:
        layer.bias.data = to_device(np.array(bias))
    return [layer]


def resize(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    """Accept what repeats pixels, and straight lines between the centres of pixels; by whole numbers."""
    if node.opset < 11:
        return upsample(node, shape, batch)
    mode, place, rounding, axes, antialias, outside, policy, _, _ = node.take(
        mode=b"nearest", coordinate_transformation_mode=b"half_pixel", nearest_mode=b"round_prefer_floor", axes=None,
        antialias=0, exclude_outside=0, keep_aspect_ratio_policy=b"stretch",
        cubic_coeff_a=-0.75, extrapolation_value=0.0,  # which cubic and tf_crop_and_resize read
    )  # fmt: skip
    for name, value, usual in (
        ("antialias", antialias, 0),
        ("exclude_outside", outside, 0),
        ("keep_aspect_ratio_policy", policy, b"stretch"),
    ):
        if value != usual:
            raise node.refusal(f"its {name}={value!r} is not")
    repeats = (place in HALF_PIXEL and rounding in (b"round_prefer_floor", b"round_prefer_ceil")) or (
        place in FROM_CORNER and rounding == b"floor"
    )
    if mode == b"nearest" and not repeats:
        raise node.refusal(
            f"its coordinate_transformation_mode={place!r} with nearest_mode={rounding!r} does not repeat every pixel "
            "equally often"
        )
    if mode == b"linear" and place not in HALF_PIXEL:
        raise node.refusal(
            f"its coordinate_transformation_mode={place!r} is not: lines go between the centres of pixels, "
            "b'half_pixel' (align_corners=False)"
        )
    if mode not in (b"nearest", b"linear"):
        raise node.refusal(f"its mode={mode!r} is not")
    given = [array for array in (node.constant(2), node.constant(3)) if array is not None and array.size]
    if len(given) != 1:
        raise node.refusal("only with its scales or its sizes given as a constant")
    factors = _scales(node, shape, batch, given[0], axes)
    return [_upsample(node, factors, "nearest" if mode == b"nearest" else "bilinear")]


def upsample(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    """Before opset 11 pixel p lies at p / scale, rounded down: straight lines then begin at a corner."""
    mode, scales = node.take(mode=b"nearest", scales=None)
    if mode != b"nearest":
        raise node.refusal(f"its mode={mode!r} before opset 11 draws its lines from the corners of pixels")
    given = node.constant(1) if scales is None else np.array(scales)
    if given is None:
        raise node.refusal("only with its scales given as a constant")
    return [_upsample(node, _scales(node, shape, batch, given, None), "nearest")]


def _scales(node: Node, shape: Sizes, batch: Any, given: np.ndarray, axes: Sequence[int] | None) -> list[Any]:
    """Return how many times as long each axis becomes, from scales (floats) or sizes (integers)."""
    before = [batch, *shape]
    chosen = range(len(before)) if axes is None else [node.axis(axis, len(before)) for axis in axes]
    if len(shape) != 3 or given.size != len(chosen):
        raise node.refusal("only on images, (N, C, H, W), with a number for each axis")
    factors: list[Any] = [1] * len(before)
    for axis, value in zip(chosen, given.reshape(-1).tolist(), strict=True):
        length = before[axis]
        if given.dtype.kind == "f":
            factors[axis] = value
        elif value is length or value == length:
            factors[axis] = 1
        elif isinstance(value, int) and isinstance(length, int):
            factors[axis] = value / length
        else:
            raise node.refusal(f"its size {value} is not known as a multiple of {length}")
    return factors


def _upsample(node: Node, factors: list[Any], mode: Any) -> Upsample:
    if factors[:2] != [1, 1] or not all(float(f).is_integer() and f >= 1 for f in factors):
        raise node.refusal(
            f"its scales {factors} are not; only whole numbers from 1 up, of rows and columns alone"
        )
    return Upsample((int(factors[2]), int(factors[3])), mode)
