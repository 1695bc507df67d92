# ruff: noqa: E501  (a graph is a line)
"""Operators that are one layer together, and their look-alikes: equal to onnxruntime, or refused."""

import copy

import numpy as np
import pytest
from onnx_graphs import assert_close, by_onnxruntime, images_for, model, save

from xpcnn.errors import CheckpointError
from xpcnn.interop import onnx as interop
from xpcnn.layers import LocalResponseNorm
from xpcnn.models.lenet5_1998 import _RadialBasis

pytest.importorskip("onnx")
I64, F32 = np.int64, np.float32
CENTERS = np.random.default_rng(0).standard_normal((5, 5)).astype(F32)  # square, so that axes may be mixed up
DISTANCE = (
    [
        ("Unsqueeze", ["images", "one"], "row", {}),
        ("Sub", ["row", "centers"], "difference", {}),
        ("ReduceSumSquare", ["difference", "two"], "sum", {"keepdims": 0}),
        ("Neg", ["sum"], "scores", {}),
    ],
    {"one": I64([1]), "two": I64([2]), "centers": CENTERS},
    {"shape": (5,)},
)
NORM = (
    [
        ("Mul", ["images", "images"], "square", {}),
        ("Unsqueeze", ["square", "one"], "apart", {}),
        ("Pad", ["apart", "pads"], "padded", {}),
        ("AveragePool", ["padded"], "mean", {"kernel_shape": [3, 1, 1]}),
        ("Squeeze", ["mean", "one"], "back", {}),
        ("Mul", ["back", "alpha"], "scaled", {}),
        ("Add", ["scaled", "k"], "shifted", {}),
        ("Pow", ["shifted", "beta"], "power", {}),
        ("Div", ["images", "power"], "scores", {}),
    ],
    {
        "one": I64([1]),
        "pads": I64([0, 0, 1, 0, 0, 0, 0, 1, 0, 0]),
        "alpha": F32(0.5),
        "k": F32(2),
        "beta": F32(0.75),
    },
    {"shape": (4, 3, 2)},
)


def changed(graph, index=None, *, inputs=None, constants=None, more=(), **attributes):
    """The same graph with a node's inputs or attributes, or some constants, changed, and more nodes at the end."""
    nodes, arrays, options = copy.deepcopy(graph)
    if index is not None:
        operator, old, output, given = nodes[index]
        nodes[index] = (operator, inputs or old, output, given | attributes)
    return nodes + list(more), arrays | (constants or {}), options


def again(graph, part):
    """Somebody else reads a part of the pattern, too."""
    nodes, arrays, options = copy.deepcopy(graph)
    nodes[-1] = (*nodes[-1][:2], "pattern", nodes[-1][3])
    nodes += [("Relu", [part], "other", {}), ("Add", ["pattern", "other"], "scores", {})]
    return nodes, arrays, options


FOUND = {
    "distance": (DISTANCE, _RadialBasis),
    "distance the other way": (changed(DISTANCE, 1, inputs=["centers", "row"]), _RadialBasis),
    "distance, axis from the end": (changed(DISTANCE, constants={"two": I64([-1])}), _RadialBasis),
    "distance from three centers": (changed(DISTANCE, constants={"centers": CENTERS[:3]}), _RadialBasis),
    "norm": (NORM, LocalResponseNorm),
    "norm of an even size": (
        changed(NORM, 3, kernel_shape=[2, 1, 1], constants={"pads": I64([0, 0, 1, 0, 0, 0, 0, 0, 0, 0])}), LocalResponseNorm,
    ),
    "norm, constants first": (changed(NORM, 5, inputs=["alpha", "back"]), LocalResponseNorm),
    "norm, tiny alpha and k": (changed(NORM, constants={"alpha": F32(1e-12), "k": F32(1e-12)}), LocalResponseNorm),
}  # fmt: skip
LOOKALIKES = {
    "summed over the centers": changed(DISTANCE, constants={"two": I64([1])}),
    "a column": changed(DISTANCE, constants={"one": I64([2])}),
    "kept axis": changed(DISTANCE, 2, keepdims=1),
    "one center": changed(DISTANCE, constants={"centers": CENTERS[:1, :1]}),
    "centers of three axes": changed(DISTANCE, constants={"centers": CENTERS[None]}),
    "difference read again": again(DISTANCE, "sum"),
    "another power inside": changed(DISTANCE, constants={"two": I64([])}),
    "neighbours on one side": changed(NORM, constants={"pads": I64([0, 0, 2, 0, 0, 0, 0, 0, 0, 0])}),
    "padded with ones": changed(NORM, 2, inputs=["apart", "pads", "k"]),
    "a window of pixels": changed(NORM, 3, kernel_shape=[1, 1, 1], constants={"pads": I64([0] * 10)}),
    "a stride": changed(
        NORM, 3, kernel_shape=[3, 1, 1], strides=[1, 2, 1], constants={"pads": I64([0, 0, 1, 0, 0, 0, 0, 1, 1, 0])}
    ),
    "padding by the pooling": changed(NORM, 3, pads=[0, 0, 0, 0, 0, 0], auto_pad="SAME_UPPER"),
    "alpha a channel": changed(NORM, constants={"alpha": np.full((4, 1, 1), 0.5, F32) * F32([[[1]], [[2]], [[3]], [[4]]])}),
    "the power of a constant": changed(NORM, 7, inputs=["beta", "shifted"]),
    "mean read again": again(NORM, "shifted"),
    "the other way up": changed(NORM, 8, inputs=["power", "images"]),
    "cubed": changed(NORM, 0, inputs=["images", "images"], constants={"one": I64([2])}),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_the_layer_is_found(case, tmp_path):
    (nodes, constants, options), kind = FOUND[case]
    file = save(model(nodes, constants, **options), tmp_path / "graph.onnx")
    layers = interop.load(file)
    assert [type(layer) for layer in layers] == [kind]
    images = images_for(file, 3)
    assert_close(layers(images), by_onnxruntime(file, images), 2e-6)


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
    assert_close(layers(images), by_onnxruntime(file, images), 2e-6)
