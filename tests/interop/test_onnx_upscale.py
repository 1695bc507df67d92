# ruff: noqa: E501  (a graph is a line)
"""ConvTranspose, Resize and Upsample: equal to onnxruntime, or refused with their names."""

import itertools

import numpy as np
import pytest
from onnx_graphs import assert_close, by_onnxruntime, images_for, model, save

from xpcnn.errors import CheckpointError
from xpcnn.interop import onnx as interop
from xpcnn.layers import ConvTranspose, Upsample

pytest.importorskip("onnx")
F32, I64 = np.float32, np.int64
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(F32)


W = normal(3, 2, 3, 2)


def transposed(*constants, graph=None, **attributes):
    names = [f"c{i}" for i in range(len(constants))]
    return (
        [("ConvTranspose", ["images", *names], "scores", attributes)],
        dict(zip(names, constants, strict=True)),
        graph or {},
    )


def resized(scales=None, sizes=None, graph=None, roi=None, **attributes):
    constants = {"roi": roi, "scales": scales, "sizes": sizes}
    constants = {name: array for name, array in constants.items() if array is not None}
    inputs = [name if name in constants else "" for name in ("roi", "scales", "sizes")]
    return (
        [("Resize", ["images", *inputs], "scores", attributes)],
        constants,
        {"shape": (3, 3, 4), **(graph or {})},
    )


TWICE = F32([1, 1, 2, 3])
FLOOR = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
EQUAL = {
    "plain": transposed(W),
    "bias": transposed(W, normal(2)),
    "stride, pads, output padding": transposed(W, strides=[2, 3], pads=[1, 1, 1, 1], output_padding=[1, 2]),
    "unequal pads": transposed(W, strides=[2, 2], pads=[1, 0, 2, 1], output_padding=[1, 0]),
    "dilated": transposed(W, normal(2), strides=[2, 1], dilations=[2, 3], pads=[1, 2, 1, 2]),
    "groups": transposed(normal(4, 3, 3, 3), normal(6), group=2, strides=[2, 2], output_padding=[1, 1], graph={"shape": (4, 3, 5)}),
    "depthwise": transposed(normal(3, 1, 2, 2), group=3, strides=[2, 2]),
    "valid": transposed(W, auto_pad="VALID", strides=[2, 2]),
    "kernel_shape said": transposed(W, kernel_shape=[3, 2]),
    "images of any size": transposed(W, strides=[2, 2], graph={"shape": (3, "H", "W")}),
    "nearest": resized(TWICE, **FLOOR),
    "nearest, default attributes": resized(TWICE),
    "nearest by sizes": resized(sizes=I64([2, 3, 6, 12]), graph={"batch": 2}, **FLOOR),
    "nearest, empty scales and roi": resized(F32([]), I64([2, 3, 6, 12]), {"batch": 2, "opset": 11}, roi=F32([]), **FLOOR),
    "nearest, rows alone": resized(F32([1, 1, 3, 1]), **FLOOR),
    "nearest, not at all": resized(F32([1, 1, 1, 1]), **FLOOR),
    "nearest, axes": resized(F32([3, 2]), axes=[3, -2], **FLOOR),
    "nearest, sizes of axes": resized(sizes=I64([9, 8]), axes=[2, 3], **FLOOR),
    "nearest of any size": resized(TWICE, graph={"shape": (3, "H", "W")}, **FLOOR),
    "nearest by 7": resized(F32([1, 1, 7, 5]), graph={"shape": (3, 31, 40)}),
    "linear": resized(TWICE, mode="linear"),
    "linear, one row": resized(TWICE, mode="linear", graph={"shape": (3, 1, 4)}),
    "linear by 7": resized(F32([1, 1, 7, 5]), mode="linear", graph={"shape": (2, 3, 9)}),
    "linear, symmetric": resized(TWICE, mode="linear", coordinate_transformation_mode="half_pixel_symmetric"),
    "linear, of PyTorch": resized(TWICE, mode="linear", coordinate_transformation_mode="pytorch_half_pixel"),
    "linear by sizes": resized(sizes=I64([2, 3, 6, 12]), mode="linear", graph={"batch": 2}),
    "linear, not at all": resized(F32([1, 1, 1, 1]), mode="linear"),
    "resize, opset 10": ([("Resize", ["images", "s"], "scores", {"mode": "nearest"})], {"s": TWICE}, {"opset": 10}),
    "upsample, opset 9": ([("Upsample", ["images", "s"], "scores", {})], {"s": TWICE}, {"opset": 9}),
    "upsample, opset 8": ([("Upsample", ["images"], "scores", {"scales": [1.0, 1.0, 2.0, 3.0]})], {}, {"opset": 8}),
    "sizes from a shape": (
        [("Shape", ["images"], "s", {"end": 2}), ("Concat", ["s", "hw"], "t", {"axis": 0}),
         ("Resize", ["images", "", "", "t"], "scores", FLOOR)], {"hw": I64([8, 12])}, {},
    ),
    "twice, then a tower": (
        [("Resize", ["images", "", "s"], "a", FLOOR), ("ConvTranspose", ["a", "w"], "b", {"strides": [2, 2]}),
         ("GlobalMaxPool", ["b"], "c", {}), ("Flatten", ["c"], "scores", {})], {"s": TWICE, "w": W}, {"shape": (3, "H", "W")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EQUAL)
def test_equal_to_onnxruntime(case, tmp_path):
    nodes, constants, options = EQUAL[case]
    file = save(model(nodes, constants, **options), tmp_path / "graph.onnx")
    layers = interop.load(file)
    for count, seed in ((2, 0), (3, 1)):
        images = images_for(file, count, seed)
        assert_close(layers(images), by_onnxruntime(file, images), 2e-6)


REFUSED = {
    "same upper": (transposed(W, auto_pad="SAME_UPPER", strides=[2, 2]), "ConvTranspose", "auto_pad"),
    "same lower": (transposed(W, auto_pad="SAME_LOWER", strides=[2, 2]), "ConvTranspose", "auto_pad"),
    "output_shape": (transposed(W, output_shape=[9, 9], strides=[2, 2]), "ConvTranspose", "output_shape"),
    "output padding of a stride": (
        transposed(W, strides=[2, 2], output_padding=[0, 2]), "ConvTranspose", r"output_padding \[0, 2\] must be smaller",
    ),
    "groups that do not divide": (transposed(W, group=2), "ConvTranspose", "group 2"),
    "bias of other channels": (transposed(W, normal(3)), "ConvTranspose", "bias does not fit"),
    "nothing is left": (transposed(W, pads=[4, 4, 4, 4]), "ConvTranspose", "does not fit together"),
    "of other channels": (transposed(W, graph={"shape": (4, 5, 5)}), "ConvTranspose", "does not fit together"),
    "pads that grow": (transposed(W, pads=[-1, 0, 0, 0]), "ConvTranspose", "pads"),
    "in one dimension": (transposed(normal(3, 2, 3), graph={"shape": (3, 9)}), "ConvTranspose", "must have 4 axes"),
    "filters that are computed": (
        ([("Tanh", ["images"], "t", {}), ("ConvTranspose", ["images", "t"], "scores", {})], {}, {"batch": 3, "shape": (3, 3, 3)}),
        "ConvTranspose", "constants",
    ),
    "half a pixel more": (resized(F32([1, 1, 1.5, 2])), "Resize", "whole numbers"),
    "smaller": (resized(F32([1, 1, 0.5, 0.5])), "Resize", "whole numbers"),
    "sizes that do not divide": (resized(sizes=I64([2, 3, 5, 8]), graph={"batch": 2}), "Resize", "whole numbers"),
    "more channels": (resized(F32([1, 2, 2, 2])), "Resize", "rows and columns alone"),
    "more samples": (resized(F32([2, 1, 2, 2]), graph={"batch": 2}), "Resize", "rows and columns alone"),
    "samples by number": (resized(sizes=I64([2, 3, 6, 8])), "Resize", "not known as a multiple of N"),
    "sizes of any size": (resized(sizes=I64([6, 8]), axes=[2, 3], graph={"shape": (3, "H", "W")}), "Resize", "multiple of None"),
    "infinitely": (resized(F32([1, 1, np.inf, 2])), "Resize", "whole numbers"),
    "not a number": (resized(F32([1, 1, np.nan, 2])), "Resize", "whole numbers"),
    "without end": (resized(F32([1, 1, 2e9, 2e9])), "Resize", "numbers of each sample"),
    "scales and sizes": (resized(TWICE, I64([2, 3, 6, 12])), "Resize", "its scales or its sizes"),
    "too few scales": (resized(F32([2, 2])), "Resize", "a number for each axis"),
    "features": (resized(F32([1, 2]), graph={"shape": (5,)}), "Resize", "only on images"),
    "corners on corners": (resized(TWICE, mode="linear", coordinate_transformation_mode="align_corners"), "Resize", "align_corners"),
    "lines from corners": (resized(TWICE, mode="linear", coordinate_transformation_mode="asymmetric"), "Resize", "asymmetric"),
    "cubic": (resized(TWICE, mode="cubic"), "Resize", "mode=b'cubic'"),
    "smoothed": (resized(TWICE, mode="linear", antialias=1), "Resize", "antialias"),
    "outside left out": (resized(TWICE, mode="linear", exclude_outside=1), "Resize", "exclude_outside"),
    "ratio kept": (
        resized(sizes=I64([6, 4]), axes=[2, 3], keep_aspect_ratio_policy="not_larger"), "Resize", "keep_aspect_ratio_policy",
    ),
    "part of the image": (
        resized(TWICE, mode="linear", coordinate_transformation_mode="tf_crop_and_resize", roi=F32([0, 0, 0, 0, 1, 1, 1, 1])),
        "Resize", "tf_crop_and_resize",
    ),
    "scales that are computed": (
        ([("ReduceMean", ["images", "a"], "m", {"keepdims": 0}), ("Resize", ["images", "", "m"], "scores", {})], {"a": I64([0, 2, 3])}, {}),
        "ReduceMean", "not over the batch",
    ),
    "linear, opset 10": (([("Resize", ["images", "s"], "scores", {"mode": "linear"})], {"s": TWICE}, {"opset": 10}), "Resize", "corners"),
    "linear, opset 9": (([("Upsample", ["images", "s"], "scores", {"mode": "linear"})], {"s": TWICE}, {"opset": 9}), "Upsample", "corners"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case, tmp_path):
    (nodes, constants, options), operator, why = REFUSED[case]
    file = save(model(nodes, constants, **options), tmp_path / "graph.onnx")
    with pytest.raises(
        CheckpointError, match=rf"graph\.onnx: the operator {operator} \(.+\) is .*{why}.*; "
    ) as refusal:
        interop.load(file)
    assert "\n" not in str(refusal.value)


PLACES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn",
)  # fmt: skip
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("opset", [11, None])
def test_every_way_to_choose_a_pixel(place, opset, tmp_path):
    """Each of them is what onnxruntime computes, or refused; those that repeat pixels at every scale are read."""
    for rounding, mode in itertools.product(ROUNDINGS, ("nearest", "linear")):
        same = []
        for scales in (TWICE, F32([1, 1, 5, 4])):
            attributes = {"coordinate_transformation_mode": place, "nearest_mode": rounding, "mode": mode}
            nodes, constants, options = resized(scales, roi=F32([]), graph={"opset": opset}, **attributes)
            file = save(model(nodes, constants, **options), tmp_path / "graph.onnx")
            images = images_for(file)
            expected = by_onnxruntime(file, images)
            with np.errstate(all="raise"):
                ours = Upsample(
                    tuple(int(s) for s in scales[2:]), "nearest" if mode == "nearest" else "bilinear"
                )(images)
            same.append(np.allclose(ours, expected, rtol=1e-5, atol=1e-6))
            try:
                layers = interop.load(file)
            except CheckpointError as refusal:
                assert "the operator Resize (scores) is supported, but its " in str(refusal)  # noqa: PT017
                assert not all(same), (place, rounding, mode)
                continue
            assert_close(layers(images), expected, 2e-6)


def test_what_the_layers_are(tmp_path):
    def layers(case):
        nodes, constants, options = EQUAL[case]
        return [*interop.load(save(model(nodes, constants, **options), tmp_path / "graph.onnx"))]

    (layer,) = layers("groups")
    assert isinstance(layer, ConvTranspose)
    assert (layer.in_channels, layer.out_channels, layer.groups) == (4, 6, 2)
    assert repr(layers("linear")) == repr([Upsample((2, 3), "bilinear")])
    assert repr(layers("upsample, opset 8")) == repr([Upsample((2, 3), "nearest")])
    assert repr(layers("sizes from a shape")) == repr([Upsample((2, 3), "nearest")])
