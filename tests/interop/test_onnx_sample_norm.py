# ruff: noqa: E501  (a graph is a line)
"""Normalisations of each sample, GELU and SiLU, whole or taken apart: equal to onnxruntime, or refused; look-alikes too."""

import copy

import numpy as np
import pytest
from onnx_graphs import DOUBLE, assert_close, by_onnxruntime, images_for, model, save

from xpcnn.errors import CheckpointError
from xpcnn.interop import onnx as interop
from xpcnn.layers import (
    GELU,
    GlobalMaxPooling,
    GroupNorm,
    LayerNorm,
    Product,
    Reshape,
    Residual,
    Scale,
    SiLU,
    Sum,
)

pytest.importorskip("onnx")
F32, I64 = np.float32, np.int64
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(F32)


def one(operator, *constants, graph=None, **attributes):
    names = [f"c{i}" for i in range(len(constants))]
    return (
        [(operator, ["images", *names], "scores", attributes)],
        dict(zip(names, constants, strict=True)),
        {"shape": (6, 3, 4), **(graph or {})},
    )


GROUPS = (
    [("Reshape", ["images", "apart"], "a", {}), ("InstanceNormalization", ["a", "ones", "zeros"], "b", {"epsilon": 1e-3}),
     ("Shape", ["images"], "s", {}), ("Reshape", ["b", "s"], "c", {}), ("Mul", ["c", "w"], "d", {}), ("Add", ["d", "h"], "scores", {})],
    {"apart": I64([0, 2, -1]), "ones": np.ones(2, F32), "zeros": np.zeros(2, F32), "w": normal(6, 1, 1), "h": normal(6, 1, 1)},
    {"shape": (6, 3, 4)},
)  # fmt: skip
LAST = (
    [("ReduceMean", ["images"], "m", {"axes": [-1]}), ("Sub", ["images", "m"], "d", {}), ("Pow", ["d", "two"], "p", {}),
     ("ReduceMean", ["p"], "v", {"axes": [-1]}), ("Add", ["v", "eps"], "e", {}), ("Sqrt", ["e"], "r", {}), ("Div", ["d", "r"], "n", {}),
     ("Mul", ["n", "w"], "y", {}), ("Add", ["y", "h"], "scores", {})],
    {"two": F32(2), "eps": F32(1e-3), "w": normal(4), "h": normal(4)}, {"shape": (6, 3, 4), "opset": 13},
)  # fmt: skip
NORMAL = (
    [("Div", ["images", "root"], "a", {}), ("Erf", ["a"], "b", {}), ("Add", ["b", "one"], "c", {}), ("Mul", ["images", "c"], "d", {}),
     ("Mul", ["d", "half"], "scores", {})],
    {"root": F32(2**0.5), "one": F32(1), "half": F32(0.5)}, {"shape": (6, 3, 4)},
)  # fmt: skip
SWISH = ([("Sigmoid", ["images"], "a", {}), ("Mul", ["images", "a"], "scores", {})], {}, {"shape": (6, 3, 4)})


def changed(
    graph, index=None, *, inputs=None, constants=None, operator=None, last=None, options=None, **attributes
):
    """The same graph with a node's operator, inputs or attributes changed, some constants, or only the first nodes."""
    nodes, arrays, given = copy.deepcopy(graph)
    if index is not None:
        old, read, output, more = nodes[index]
        nodes[index] = (operator or old, inputs or read, output, more | attributes)
    if last is not None:
        nodes = [*nodes[:last], (*nodes[last][:2], "scores", nodes[last][3])]
    return nodes, arrays | (constants or {}), given | (options or {})


def again(graph, part):
    """Somebody else reads a part of the pattern, too."""
    nodes, arrays, options = copy.deepcopy(graph)
    nodes[-1] = (*nodes[-1][:2], "pattern", nodes[-1][3])
    shape = [("Relu", [part], "other", {}), ("ReduceMean", ["other"], "mean", {"axes": [2, 3]})]
    return nodes + shape + [("Mul", ["pattern", "mean"], "scores", {})], arrays, options | {"opset": 13}


ALL = [(1, {"axes": [-3, -2, -1]}), (4, {"axes": [1, 2, 3]})]
EQUAL = {
    # ---- one operator
    "groups": (one("GroupNormalization", normal(6), normal(6), num_groups=3, epsilon=1e-2), [GroupNorm]),
    "groups, opset 21": (one("GroupNormalization", normal(6), normal(6), num_groups=2, graph={"opset": 21}), [GroupNorm]),
    "groups of a row": (one("GroupNormalization", normal(6), normal(6), num_groups=2, graph={"shape": (6, 5)}), [GroupNorm]),
    "groups of any size": (one("GroupNormalization", normal(6), normal(6), num_groups=2, graph={"shape": (6, "H", "W")}), [GroupNorm]),
    "groups in double precision": (one("GroupNormalization", *RNG.standard_normal((2, 6)), num_groups=2, stash_type=11, graph={"kind": DOUBLE}), [GroupNorm]),
    "each channel": (one("InstanceNormalization", normal(6), normal(6), epsilon=1e-2), [GroupNorm]),
    "each channel, opset 7": (one("InstanceNormalization", normal(6), normal(6), graph={"opset": 7}), [GroupNorm]),
    "each channel of any size": (one("InstanceNormalization", normal(6), normal(6), graph={"shape": (6, "H", "W")}), [GroupNorm]),
    "last axis": (one("LayerNormalization", normal(4), normal(4), epsilon=1e-2), [LayerNorm]),
    "last axis, no bias": (one("LayerNormalization", normal(4)), [LayerNorm]),
    "two axes": (one("LayerNormalization", normal(3, 4), normal(3, 4), axis=2), [LayerNorm]),
    "all axes": (one("LayerNormalization", normal(6, 3, 4), normal(6, 3, 4), axis=1), [LayerNorm]),
    "all axes, opset 17": (one("LayerNormalization", normal(6, 3, 4), axis=-3, graph={"opset": 17}), [LayerNorm]),
    "all axes, weights broadcast": (one("LayerNormalization", normal(6, 1, 1), normal(1), axis=1), [LayerNorm]),
    "features": (one("LayerNormalization", normal(7), normal(7), graph={"shape": (7,)}), [LayerNorm]),
    "last axis in double precision": (one("LayerNormalization", RNG.standard_normal(4), graph={"kind": DOUBLE}), [LayerNorm]),
    "gelu": (one("Gelu"), [GELU]),
    "gelu, named": (one("Gelu", approximate="none"), [GELU]),
    # ---- groups taken apart
    "groups apart": (GROUPS, [GroupNorm]),
    "groups apart, weights a group": (changed(GROUPS, constants={"ones": normal(2), "zeros": normal(2)}), [GroupNorm, Scale]),
    "groups apart, no weights": (changed(GROUPS, last=3), [GroupNorm]),
    "groups apart, no bias": (changed(GROUPS, last=4), [GroupNorm]),
    "groups apart, one number": (changed(GROUPS, constants={"w": F32([[[2]]]), "h": F32(3)}), [GroupNorm]),
    "groups apart, (1, C, 1, 1)": (changed(GROUPS, constants={"w": normal(1, 6, 1, 1)}), [GroupNorm]),
    "groups apart as images": (changed(GROUPS, constants={"apart": I64([0, 2, 9, -1])}), [GroupNorm]),
    "groups apart, batch of two": (changed(GROUPS, options={"batch": 2}), [GroupNorm]),
    "each channel, weighted, then a scale": (
        ([("InstanceNormalization", ["images", "o", "z"], "a", {}), ("Mul", ["w", "a"], "scores", {})],
         {"o": normal(6), "z": np.zeros(6, F32), "w": normal(6, 1, 1)}, {"shape": (6, 3, 4)}), [GroupNorm, Scale],
    ),
    "each channel, shifted, then a shift": (
        ([("InstanceNormalization", ["images", "o", "z"], "a", {}), ("Add", ["w", "a"], "scores", {})],
         {"o": normal(6), "z": normal(6), "w": normal(6, 1, 1)}, {"shape": (6, 3, 4)}), [GroupNorm, Scale],
    ),
    "each channel, then a scale": (
        ([("InstanceNormalization", ["images", "o", "z"], "a", {}), ("Mul", ["w", "a"], "scores", {})],
         {"o": np.ones(6, F32), "z": np.zeros(6, F32), "w": normal(6, 1, 1)}, {"shape": (6, 3, 4)}), [GroupNorm],
    ),
    # ---- last axes taken apart
    "last axis apart": (LAST, [LayerNorm]),
    "last axis apart, no weights": (changed(LAST, last=6), [LayerNorm]),
    "last axis apart, no bias": (changed(LAST, last=7), [LayerNorm]),
    "last axis apart, one number": (changed(LAST, constants={"w": F32([2]), "h": F32(3)}), [LayerNorm]),
    "last axis apart, squared by itself": (changed(LAST, 2, operator="Mul", inputs=["d", "d"]), [LayerNorm]),
    "last axis apart, epsilon first": (changed(LAST, 4, inputs=["eps", "v"]), [LayerNorm]),
    "last axis apart, one a channel": (changed(LAST, constants={"w": normal(6, 1, 1), "h": normal(6, 1, 1)}), [LayerNorm, Scale]),
    "last axis apart, opset 9": (changed(LAST, options={"opset": 9}), [LayerNorm]),
    "all axes apart": (changed(changed(LAST, 0, axes=[-3, -2, -1]), 3, axes=[1, 2, 3], constants={"w": normal(6, 3, 4), "h": normal(6, 3, 4)}), [LayerNorm]),
    "all axes apart, one a channel": (changed(changed(LAST, 0, axes=[-3, -2, -1]), 3, axes=[1, 2, 3], constants={"w": normal(6, 1, 1), "h": normal(1, 6, 1, 1)}), [LayerNorm]),
    "features apart": (changed(LAST, options={"shape": (4,)}), [LayerNorm]),
    # ---- products with functions of x
    "gelu apart": (NORMAL, [GELU]),
    "gelu apart, half first": (
        changed(changed(NORMAL, 3, inputs=["half", "c"]), 4, inputs=["images", "d"]), [GELU]),
    "gelu apart, half of x": (
        changed(changed(NORMAL, 3, inputs=["images", "half"]), 4, inputs=["c", "d"]), [GELU]),
    "gelu apart, multiplied": (changed(NORMAL, 0, operator="Mul", constants={"root": F32(0.5**0.5)}), [GELU]),
    "gelu apart, one first": (changed(NORMAL, 2, inputs=["one", "b"], constants={"one": F32([1])}), [GELU]),
    "silu": (SWISH, [SiLU]),
    "silu, sigmoid first": (changed(SWISH, 1, inputs=["a", "images"]), [SiLU]),
    "silu of features": (changed(SWISH, options={"shape": (7,)}), [SiLU]),
    "silu twice": (
        ([*SWISH[0][:1], ("Mul", ["images", "a"], "b", {}), ("Sigmoid", ["b"], "c", {}), ("Mul", ["c", "b"], "scores", {})], {}, {}), [SiLU, SiLU],
    ),
    "silu, then half": (([*SWISH[0][:1], ("Mul", ["images", "a"], "b", {}), ("Mul", ["b", "h"], "scores", {})], {"h": F32(0.5)}, {}), [SiLU, Scale]),
    "a gate of another value": (
        ([("Relu", ["images"], "r", {}), ("Sigmoid", ["r"], "g", {}), ("Mul", ["images", "g"], "scores", {})], {}, {}), [Product],
    ),
    # ---- joins, and whole images
    "a sum of three": (
        ([("Relu", ["images"], "a", {}), ("Tanh", ["images"], "b", {}), ("Sum", ["a", "images", "b"], "scores", {})], {}, {}), [Sum],
    ),
    "two adds of three": (
        ([("Relu", ["images"], "a", {}), ("Tanh", ["images"], "b", {}), ("Add", ["a", "b"], "c", {}), ("Add", ["images", "c"], "scores", {})], {}, {}), [Sum],
    ),
    "a sum of two": (([("Relu", ["images"], "a", {}), ("Sum", ["a", "images"], "scores", {})], {}, {}), [Residual]),
    "maximum, kept": (one("ReduceMax", I64([2, 3])), [GlobalMaxPooling, Reshape]),
    "maximum, opset 13": (one("ReduceMax", axes=[-1, -2], keepdims=0, graph={"opset": 13}), [GlobalMaxPooling]),
    "maximum of any size": (one("GlobalMaxPool", graph={"shape": (3, "H", "W")}), [GlobalMaxPooling, Reshape]),
    "maximum over pixels of any size": (one("ReduceMax", I64([3, 2]), keepdims=0, graph={"shape": (3, "H", "W")}), [GlobalMaxPooling]),
}  # fmt: skip


@pytest.mark.parametrize("case", EQUAL)
def test_equal_to_onnxruntime(case, tmp_path):
    (nodes, constants, options), kinds = EQUAL[case]
    file = save(model(nodes, constants, **options), tmp_path / "graph.onnx")
    layers = interop.load(file)
    assert [type(layer) for layer in layers] == kinds
    for count, seed in ((2, 0), (3, 1)):
        images = images_for(file, count, seed)
        assert_close(layers(images), by_onnxruntime(file, images), 1e-5)


LOOKALIKES = {
    "groups, channels moved": changed(GROUPS, constants={"apart": I64([0, 4, -1]), "ones": np.ones(4, F32), "zeros": np.zeros(4, F32)}),
    "groups, back to another shape": changed(GROUPS, 3, inputs=["b", "t"], constants={"t": I64([0, 6, 4, 3])}),
    "groups, read again": again(GROUPS, "c"),
    "groups, scale a row": changed(GROUPS, constants={"w": normal(4)}),
    "groups, scale a pixel": changed(GROUPS, constants={"w": normal(6, 3, 4)}),
    "groups, more axes": changed(GROUPS, constants={"w": normal(1, 1, 6, 1, 1)}, last=4),
    "groups, subtracted": changed(GROUPS, 5, operator="Sub"),
    "last axis, cubed": changed(LAST, constants={"two": F32(3)}),
    "last axis, a power of two": changed(LAST, 2, inputs=["two", "d"]),
    "last axis, other axes": changed(LAST, 3, axes=[-2]),
    "rows": changed(changed(LAST, 0, axes=[2]), 3, axes=[2], constants={"w": F32(2), "h": F32(2)}),
    "axes kept apart": changed(LAST, 3, axes=[2, 3]),
    "not kept": changed(changed(LAST, 0, keepdims=0, axes=[1, 2, 3], options={"batch": 1}), 3, keepdims=0, axes=[1, 2, 3]),
    "last axis, mean minus value": changed(LAST, 1, inputs=["m", "images"]),
    "last axis, the other way up": changed(LAST, 6, inputs=["r", "d"]),
    "last axis, mean read again": again(LAST, "m"),
    "last axis, difference read again": again(LAST, "d"),
    "last axis, epsilon a row": changed(LAST, constants={"eps": F32([[[1e-3], [2e-3], [3e-3]]])}),
    "last axis, squares of the value": changed(LAST, 2, inputs=["images", "two"]),
    "last axis, added before": changed(LAST, 7, operator="Add", inputs=["n", "w"], constants={"w": normal(4)}),
    "gelu, another root": changed(NORMAL, constants={"root": F32(1.5)}),
    "gelu, two": changed(NORMAL, constants={"one": F32(2)}),
    "gelu, all": changed(NORMAL, constants={"half": F32(1)}),
    "gelu, a half a channel": changed(NORMAL, constants={"half": np.full((6, 1, 1), 0.5, F32) * F32([1, 2, 3, 4, 5, 6]).reshape(6, 1, 1)}),
    "gelu, divided the other way": changed(NORMAL, 0, inputs=["root", "images"]),
    "gelu, erf read again": again(NORMAL, "b"),
    "gelu of another value": ([("Relu", ["images"], "x", {}), *changed(NORMAL, 0, inputs=["x", "root"])[0]], NORMAL[1], NORMAL[2]),
    "silu, a gate that is read again": ([*SWISH[0][:1], ("Mul", ["images", "a"], "b", {}), ("Add", ["b", "a"], "scores", {})], {}, {}),
    "silu, and a half": ([*SWISH[0][:1], ("Mul", ["a", "h"], "b", {}), ("Mul", ["images", "b"], "scores", {})], {"h": F32(0.5)}, {}),
    "erf alone": ([("Erf", ["images"], "scores", {})], {}, {}),
    "square root": ([("Sqrt", ["images"], "scores", {})], {}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", LOOKALIKES)
def test_a_lookalike_is_not_taken_for_it(case, tmp_path):
    nodes, constants, options = LOOKALIKES[case]
    file = save(model(nodes, constants, **options), tmp_path / "graph.onnx")
    try:
        layers = interop.load(file)
    except CheckpointError as refusal:
        assert "the operator" in str(refusal)  # noqa: PT017
        return
    images = images_for(file, 3)
    assert_close(layers(images), by_onnxruntime(file, images), 1e-5)


REFUSED = {
    "gelu by tanh": (one("Gelu", approximate="tanh"), "Gelu", "approximate=b'tanh'"),
    "groups that do not divide": (one("GroupNormalization", normal(6), normal(6), num_groups=4), "GroupNormalization", "in 4 groups"),
    "no groups": (one("GroupNormalization", normal(6), normal(6), num_groups=0), "GroupNormalization", "in 0 groups"),
    "a weight a group": (one("GroupNormalization", normal(2), normal(2), num_groups=2), "GroupNormalization", "do not fit 6 channels"),
    "statistics in half precision": (one("GroupNormalization", normal(6), normal(6), num_groups=2, stash_type=10), "GroupNormalization", "stash_type=10"),
    "an epsilon of zero": (one("InstanceNormalization", normal(6), normal(6), epsilon=0.0), "InstanceNormalization", "eps"),
    "weights of other channels": (one("InstanceNormalization", normal(5), normal(5)), "InstanceNormalization", "do not fit 6 channels"),
    "features by channel": (one("InstanceNormalization", normal(6), normal(6), graph={"shape": (6,)}), "InstanceNormalization", "only on images"),
    "over the batch": (one("LayerNormalization", normal(6, 3, 4), axis=0, graph={"batch": 2}), "LayerNormalization", "behind the batch"),
    "over an open axis": (one("LayerNormalization", normal(4), graph={"shape": (6, 3, "W")}), "LayerNormalization", "fixed size"),
    "mean that is read": (
        ([("LayerNormalization", ["images", "w"], ["n", "m"], {}), ("Mul", ["n", "m"], "scores", {})], {"w": normal(4)}, {"shape": (6, 3, 4)}),
        "LayerNormalization", "second output",
    ),
    "maximum of a row": (one("ReduceMax", I64([3])), "ReduceMax", "both axes"),
    "maximum of a matrix": (one("ReduceMax", I64([2]), graph={"shape": (6, 3)}), "ReduceMax", "both axes"),
    "maximum of the batch": (one("ReduceMax", I64([0])), "ReduceMax", "not over the batch"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case, tmp_path):
    (nodes, constants, options), operator, why = REFUSED[case]
    file = save(model(nodes, constants, **options), tmp_path / "graph.onnx")
    with pytest.raises(CheckpointError, match=rf"graph\.onnx: the operator {operator} \(.+\) is .*{why}.*; "):
        interop.load(file)


@pytest.mark.parametrize("weights", [2, 6])
def test_the_withdrawn_operator_of_opset_18_is_refused(weights, tmp_path):
    """It has a weight a group, and the one of opset 21 a weight a channel."""
    nodes, constants, options = one(
        "GroupNormalization", normal(weights), normal(weights), num_groups=2, graph={"opset": 18}
    )
    with pytest.raises(CheckpointError, match=r"graph\.onnx: .*GroupNormalization"):
        interop.load(save(model(nodes, constants, **options), tmp_path / "graph.onnx"))
