# ruff: noqa: E501  (a graph is a line)
"""Single operators as other programs write them: each equal to onnxruntime, or refused with its name."""

import numpy as np
import pytest
from onnx_graphs import DOUBLE, assert_close, by_onnxruntime, images_for, model, save

from xpcnn.errors import CheckpointError
from xpcnn.interop import onnx as interop
from xpcnn.layers import Affine, Clip, Conv, ReLU, Residual, Scale

onnx = pytest.importorskip("onnx")
RNG = np.random.default_rng(0)
I64, F32 = np.int64, np.float32


def normal(*shape):
    return RNG.standard_normal(shape).astype(F32)


W, V, MATRIX, BIAS = normal(4, 3, 3, 3), normal(3, 3, 1, 1), normal(48, 5), normal(5)
STATISTICS = {"w": normal(3), "b": normal(3), "m": normal(3), "v": np.abs(normal(3)) + 1}
FLAT = ("Flatten", ["images"], "flat", {})
NAMES = ["images", "w", "b", "m", "v"]


def one(operator, constants=(), /, *, attributes=None, graph=None, **named):
    """A graph of one operator on the images; constants become its other operands."""
    inputs = ["images", *(f"c{i}" if array is not None else "" for i, array in enumerate(constants))]
    arrays = {f"c{i}": array for i, array in enumerate(constants) if array is not None}
    return [(operator, inputs, "scores", {**(attributes or {}), **named})], arrays, graph or {}


EQUAL = {
    # ---- what changes only the shape
    "reshape (-1, all)": one("Reshape", [I64([-1, 48])]),
    "reshape (0, -1)": one("Reshape", [I64([0, -1])]),
    "reshape (-1, all), allowzero": one("Reshape", [I64([-1, 48])], allowzero=1),
    "reshape to images": one("Reshape", [I64([-1, 12, 2, 2])]),
    "reshape by 0 and -1": one("Reshape", [I64([0, 0, -1])]),
    "reshape, fixed batch": one("Reshape", [I64([2, -1])], graph={"batch": 2}),
    "reshape, batch of one": one("Reshape", [I64([1, 48])], graph={"batch": 1}),
    "flatten from the end": one("Flatten", axis=-3),
    "unsqueeze": one("Unsqueeze", [I64([2, -1])]),
    "unsqueeze, opset 11": one("Unsqueeze", axes=[2, 5], graph={"opset": 11}),
    "squeeze": one("Squeeze", [I64([-1, 2])], graph={"shape": (3, 1, 1)}),
    "squeeze, opset 11": one("Squeeze", axes=[3, 2], graph={"opset": 11, "shape": (3, 1, 1)}),
    "transpose of ones": one("Transpose", perm=[0, 2, 3, 1], graph={"shape": (3, 1, 1)}),
    "concat and flatten from a shape": (
        [("Shape", ["images"], "s", {}), ("Gather", ["s", "zero"], "n", {}), ("Unsqueeze", ["n", "axis"], "u", {}),
         ("Concat", ["u", "rest"], "t", {"axis": 0}), ("Reshape", ["images", "t"], "scores", {})],
        {"zero": I64(0), "axis": I64([0]), "rest": I64([-1])}, {},
    ),
    "sizes multiplied": (
        [("Shape", ["images"], "s", {"start": 1}), ("Slice", ["s", "a", "b"], "c", {}), ("Squeeze", ["c"], "d", {}),
         ("Mul", ["d", "sixteen"], "e", {}), ("Unsqueeze", ["e", "a"], "f", {}), ("Cast", ["f"], "g", {"to": 7}),
         ("Concat", ["minus", "g"], "t", {"axis": 0}), ("Reshape", ["images", "t"], "scores", {})],
        {"a": I64([0]), "b": I64([1]), "sixteen": I64(16), "minus": I64([-1])}, {},
    ),
    # ---- products
    "gemm, alpha and beta": (
        [FLAT, ("Gemm", ["flat", "w", "b"], "scores", {"alpha": 0.5, "beta": 2.0})], {"w": MATRIX, "b": BIAS}, {},
    ),
    "gemm, transposed": ([FLAT, ("Gemm", ["flat", "w"], "scores", {"transB": 1})], {"w": MATRIX.T.copy()}, {}),
    "gemm, bias (1, O)": ([FLAT, ("Gemm", ["flat", "w", "b"], "scores", {})], {"w": MATRIX, "b": BIAS[None]}, {}),
    "gemm, one number as bias": ([FLAT, ("Gemm", ["flat", "w", "b"], "scores", {})], {"w": MATRIX, "b": F32(3)}, {}),
    "gemm, bias left out": ([FLAT, ("Gemm", ["flat", "w", ""], "scores", {})], {"w": MATRIX}, {}),
    "matmul": ([FLAT, ("MatMul", ["flat", "w"], "scores", {})], {"w": MATRIX}, {}),
    "matmul and bias": (
        [FLAT, ("MatMul", ["flat", "w"], "a", {}), ("Add", ["b", "a"], "scores", {})], {"w": MATRIX, "b": BIAS}, {},
    ),
    "matmul by a transposed constant": (
        [FLAT, ("Transpose", ["w"], "t", {}), ("MatMul", ["flat", "t"], "scores", {})], {"w": MATRIX.T.copy()}, {},
    ),
    "weights by another name": (
        [("Identity", ["w"], "same", {}), FLAT, ("Gemm", ["flat", "same"], "scores", {})], {"w": MATRIX}, {},
    ),
    # ---- windows
    "conv": one("Conv", [W, normal(4)], pads=[1, 0, 2, 1], strides=[2, 1], dilations=[1, 2]),
    "conv, same upper": one("Conv", [W], auto_pad="SAME_UPPER", strides=[2, 2], graph={"shape": (3, 5, 6)}),
    "conv, same lower": one("Conv", [W], auto_pad="SAME_LOWER", strides=[2, 2], graph={"shape": (3, 6, 5)}),
    "conv, valid": one("Conv", [W], auto_pad="VALID"),
    "conv in groups": one("Conv", [normal(6, 1, 3, 3), normal(6)], group=3),
    "zeros around, then conv": (
        [("Pad", ["images", "p"], "a", {}), ("Conv", ["a", "w"], "scores", {"pads": [1, 1, 0, 0]})],
        {"p": I64([0, 0, 1, 0, 0, 0, 0, 2]), "w": W}, {},
    ),
    "zeros around by axes, then conv": (
        [("Pad", ["images", "p", "", "axes"], "a", {}), ("Conv", ["a", "w"], "scores", {})],
        {"p": I64([1, 0, 2, 1]), "axes": I64([-1, 2]), "w": W}, {},
    ),
    "zeros, opset 10": (
        [("Pad", ["images"], "a", {"pads": [0, 0, 1, 1, 0, 0, 1, 1]}), ("Conv", ["a", "w"], "scores", {})], {"w": W},
        {"opset": 10},
    ),
    "zeros as channels": one("Pad", [I64([0, 0, 0, 0, 0, 2, 0, 0]), F32(0)]),
    "no zeros": one("Pad", [I64([0] * 8)]),
    "max, ceil": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, graph={"shape": (3, 6, 8)}),
    "max, same lower": one("MaxPool", kernel_shape=[2, 2], auto_pad="SAME_LOWER"),
    "max, column-major indices nobody reads": one("MaxPool", kernel_shape=[2, 2], storage_order=1),
    "max, second output nobody reads": ([("MaxPool", ["images"], ["scores", "i"], {"kernel_shape": [2, 2]})], {}, {}),
    "mean, padding counted": one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    "mean, padding not counted": one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "mean, same lower": one("AveragePool", kernel_shape=[2, 3], auto_pad="SAME_LOWER", strides=[1, 2]),
    "mean, ceil": one("AveragePool", kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1, graph={"shape": (3, 5, 4)}),
    "mean, ceil, padding counted": one(
        "AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, count_include_pad=1, pads=[1, 1, 0, 0],
        graph={"shape": (3, 5, 4)},
    ),
    "global mean": one("GlobalAveragePool"),
    "global mean of images of any size": one("GlobalAveragePool", graph={"shape": (3, "H", "W")}),
    "global maximum": one("GlobalMaxPool"),
    "mean of the pixels": one("ReduceMean", [I64([2, 3])], keepdims=0),
    "mean of the pixels, from the end": one("ReduceMean", [I64([-1, -2])]),
    "mean of the pixels, opset 13": one("ReduceMean", axes=[2, 3], keepdims=0, graph={"opset": 13}),
    "mean of a row": one("ReduceMean", [I64([3])], keepdims=0),
    "mean of a column": one("ReduceMean", [I64([2])]),
    "mean of a row, then of what is left": (
        [("ReduceMean", ["images", "r"], "a", {"keepdims": 0}), ("ReduceMean", ["a", "c"], "scores", {"keepdims": 0})],
        {"r": I64([3]), "c": I64([2])}, {},
    ),
    "maximum of the pixels": one("ReduceMax", [I64([2, 3])], keepdims=0),
    # ---- elementwise, and normalisation
    "clip": one("Clip", [F32(-0.5), F32(0.25)]),
    "clip below": one("Clip", [F32(0)]),
    "clip above": one("Clip", [None, F32(0.25)]),
    "clip, opset 10": one("Clip", min=-0.5, max=0.25, graph={"opset": 10}),
    "leaky": one("LeakyRelu", alpha=0.3),
    "leaky, default": one("LeakyRelu"),
    "softmax": one("Softmax"),
    "softmax over channels": one("Softmax", axis=1),
    "softmax over rows": one("Softmax", axis=-2),
    "softmax, opset 11": one("Softmax", graph={"opset": 11}),
    "softmax, opset 11, last axis": one("Softmax", axis=3, graph={"opset": 11}),
    "softmax, opset 7, of features": one("Softmax", graph={"opset": 7, "shape": (5,)}),
    "batch norm": ([("BatchNormalization", NAMES, "scores", {"epsilon": 0.1, "momentum": 0.7})], STATISTICS, {}),
    "batch norm, tiny epsilon": ([("BatchNormalization", NAMES, "scores", {"epsilon": 1e-12})],
                                 STATISTICS | {"v": F32([1e-12, 4e-12, 0])}, {}),
    "batch norm, opset 8": ([("BatchNormalization", NAMES, "scores", {"spatial": 1})], STATISTICS, {"opset": 8}),
    "lrn": one("LRN", size=3, alpha=0.5, beta=0.6, bias=2.0),
    "lrn, tiny alpha": one("LRN", size=3, alpha=1e-12, bias=1e-12),
    "dropout": one("Dropout", [F32(0.25), np.array(False)]),
    "dropout, opset 10": one("Dropout", ratio=0.25, graph={"opset": 10}),
    "constants of every kind": (
        [("Constant", [], "low", {"value_float": -0.5}), ("Clip", ["images", "low"], "a", {}),
         ("Constant", [], "to", {"value_ints": [-1, 48]}), ("Reshape", ["a", "to"], "scores", {})], {}, {},
    ),
    # ---- arithmetic with constants
    "plus one a channel": one("Add", [normal(3, 1, 1)]),
    "minus": one("Sub", [normal(1, 3, 1, 1)]),
    "from a constant": ([("Sub", ["c", "images"], "scores", {})], {"c": normal(3, 1, 1)}, {}),
    "times": one("Mul", [F32(0.5)]),
    "by": one("Div", [normal(3, 1, 1)]),
    "times and plus": (
        [("Mul", ["images", "a"], "x", {}), ("Add", ["x", "b"], "scores", {})], {"a": normal(3, 1, 1), "b": F32(2)}, {},
    ),
    "matmul read before its bias": (
        [FLAT, ("MatMul", ["flat", "w"], "a", {}), ("Add", ["a", "b"], "x", {}), ("Tanh", ["a"], "y", {}), ("Add", ["x", "y"], "scores", {})],
        {"w": MATRIX, "b": BIAS}, {},
    ),
    "product read before its sum": (
        [("Mul", ["images", "a"], "x", {}), ("Add", ["x", "b"], "y", {}), ("Concat", ["x", "y"], "scores", {"axis": 1})],
        {"a": F32(3), "b": F32(2)}, {},
    ),
    # ---- joins
    "two adds": (
        [("Relu", ["images"], "a", {}), ("Tanh", ["a"], "b", {}), ("Add", ["a", "b"], "d", {}),
         ("Add", ["d", "b"], "scores", {})], {}, {},
    ),
    "a sum of three": (
        [("Relu", ["images"], "a", {}), ("Tanh", ["images"], "b", {}), ("Sum", ["a", "images", "b"], "scores", {})], {}, {},
    ),
    "a gate a channel": (
        [("GlobalAveragePool", ["images"], "m", {}), ("Sigmoid", ["m"], "g", {}), ("Mul", ["g", "images"], "scores", {})],
        {}, {},
    ),
    "a gate a pixel": ([("Sigmoid", ["images"], "g", {}), ("Mul", ["images", "g"], "scores", {})], {}, {}),
    "squared": ([("Mul", ["images", "images"], "scores", {})], {}, {}),
    "doubled": ([("Add", ["images", "images"], "scores", {})], {}, {}),
    "joined from the end": ([("Concat", ["images", "images"], "scores", {"axis": -3})], {}, {}),
    "joined alone": ([("Concat", ["images"], "scores", {"axis": 2})], {}, {}),
    "joined again and again": (
        [("Tanh", ["images"], "a", {}), ("Concat", ["images", "a"], "b", {"axis": 1}), ("Conv", ["b", "w"], "c", {}),
         ("Concat", ["images", "a", "c"], "scores", {"axis": 1})], {"w": normal(2, 6, 1, 1)}, {},
    ),
    # ---- whole files
    "nothing at all": ([("Identity", ["images"], "scores", {})], {}, {}),
    "constants nobody reads": ([("Relu", ["images"], "scores", {})], {"spare": normal(7)}, {}),
    "double precision": (
        [("Flatten", ["images"], "flat", {}), ("Gemm", ["flat", "w"], "b", {}), ("Relu", ["b"], "c", {}),
         ("Mul", ["c", "d"], "scores", {})], {"w": MATRIX.astype(np.float64), "d": np.float64(0.3)}, {"kind": DOUBLE},
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
    "reshape (-1, K)": (one("Reshape", [I64([-1, 16])]), "Reshape", "from one sample to another"),
    "reshape (-1, K), fixed batch": (one("Reshape", [I64([-1, 24])], graph={"batch": 2}), "Reshape", "sample to another"),
    "reshape to one row": (one("Reshape", [I64([1, -1])]), "Reshape", "from one sample to another"),
    "reshape, the batch last": (one("Reshape", [I64([48, -1])]), "Reshape", "from one sample to another"),
    "reshape, literal zero": (one("Reshape", [I64([0, -1])], allowzero=1), "Reshape", "size of zero"),
    "reshape of any size": (one("Reshape", [I64([-1, 48])], graph={"shape": (3, "H", "W")}), "Reshape", "to another"),
    "flatten all": (one("Flatten", axis=0), "Flatten", "from axis 1 only"),
    "flatten less": (one("Flatten", axis=2), "Flatten", "from axis 1 only"),
    "squeeze the batch": (one("Squeeze", graph={"shape": (3, 1, 1)}), "Squeeze", "not of the batch"),
    "transpose": (one("Transpose", perm=[0, 2, 3, 1]), "Transpose", "in their order"),
    "computed with the batch": (
        ([("Shape", ["images"], "s", {}), ("Mul", ["s", "two"], "t", {}), ("Reshape", ["images", "t"], "scores", {})],
         {"two": I64([2, 1, 1, 1])}, {}), "Mul", "does not fit",
    ),
    "softmax over the batch": (one("Softmax", axis=0), "Softmax", "along the batch"),
    "softmax over two axes": (one("Softmax", axis=2, graph={"opset": 11}), "Softmax", "before opset 13"),
    "a matrix times the value": (
        ([FLAT, ("Gemm", ["w", "flat"], "scores", {"transB": 1})], {"w": MATRIX.T.copy()}, {}), "Gemm", "first operand",
    ),
    "gemm of a transposed value": (
        ([FLAT, ("Gemm", ["flat", "w"], "scores", {"transA": 1})], {"w": normal(2, 5)}, {}), "Gemm", "samples in rows",
    ),
    "gemm, a bias a sample": (
        ([FLAT, ("Gemm", ["flat", "w", "b"], "scores", {})], {"w": MATRIX, "b": normal(2, 5)}, {"batch": 2}),
        "Gemm", "sample to sample",
    ),
    "a matrix before matmul": (([FLAT, ("MatMul", ["w", "flat"], "scores", {})], {"w": normal(2, 2)}, {"batch": 2}),
                               "MatMul", "first operand"),
    "matmul of images": (one("MatMul", [normal(4, 2)]), "MatMul", "flatten before"),
    "images as filters": (
        ([("Conv", ["c", "images"], "scores", {})], {"c": normal(1, 3, 6, 6)}, {"batch": 2}), "Conv", "first operand",
    ),
    "negative pads": (one("Conv", [W], pads=[0, -1, 0, 0]), "Conv", "crop"),
    "negative pads of a pooling": (one("MaxPool", kernel_shape=[2, 2], pads=[-1, 0, 0, 0]), "MaxPool", "crop"),
    "negative zeros": (one("Pad", [I64([0, 0, -1, 0, 0, 0, 0, 0])]), "Pad", "crop"),
    "ones around": (one("Pad", [I64([0, 0, 0, 0, 0, 1, 0, 0]), F32(1)]), "Pad", "only with zeros"),
    "reflections around": (one("Pad", [I64([0, 0, 1, 1, 0, 0, 1, 1])], mode="reflect"), "Pad", "only with zeros"),
    "zeros around, then pooling": (
        ([("Pad", ["images", "p"], "a", {}), ("MaxPool", ["a"], "scores", {"kernel_shape": [2, 2]})],
         {"p": I64([0, 0, 1, 1, 0, 0, 1, 1])}, {}), "Pad", "only before a Conv",
    ),
    "zeros before the channels": (one("Pad", [I64([0, 1, 0, 0, 0, 0, 0, 0])]), "Pad", "after the last channel"),
    "conv in one dimension": (one("Conv", [normal(4, 3, 3)], graph={"shape": (3, 9)}), "Conv", "must have 4 axes"),
    "same lower of any size": (
        one("Conv", [W], auto_pad="SAME_LOWER", graph={"shape": (3, "H", "W")}), "Conv", "SAME_LOWER",
    ),
    "same, dilated": (one("Conv", [W], auto_pad="SAME_UPPER", dilations=[2, 2]), "Conv", "auto_pad not together"),
    "pads and auto_pad": (one("Conv", [W], auto_pad="VALID", pads=[1, 1, 1, 1]), "Conv", "contradict"),
    "max, dilated": (one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]), "MaxPool", "not dilated"),
    "mean, dilated": (one("AveragePool", kernel_shape=[2, 2], dilations=[2, 2]), "AveragePool", "not dilated"),
    "max and where it was": (
        ([("MaxPool", ["images"], ["a", "i"], {"kernel_shape": [2, 2]}), ("Cast", ["i"], "j", {"to": 1}),
          ("Add", ["a", "j"], "scores", {})], {}, {}), "MaxPool", "second output",
    ),
    "strides that crop": (
        one("AveragePool", kernel_shape=[1, 1], strides=[1, 3], auto_pad="SAME_UPPER", graph={"shape": (2, 6, 3)}),
        "AveragePool", "so much longer than the window",
    ),
    "mean of everything": (one("ReduceMean"), "ReduceMean", "not over the batch"),
    "mean of the channels": (one("ReduceMean", [I64([1])]), "ReduceMean", "axes of an image"),
    "mean of the batch": (one("ReduceMean", [I64([0])]), "ReduceMean", "not over the batch"),
    "statistics of the batch": (
        ([("BatchNormalization", NAMES, ["scores", "x", "y"], {"training_mode": 1})], STATISTICS, {}),
        "BatchNormalization", "evaluation only",
    ),
    "batch norm, not spatial": (
        ([("BatchNormalization", NAMES, "scores", {"spatial": 0})],
         {name: np.ones((3, 4, 4), F32) for name in STATISTICS}, {"opset": 8}), "BatchNormalization", "one mean a channel",
    ),
    "lrn of an even size": (one("LRN", size=2), "LRN", "odd size"),
    "dropout in training": (one("Dropout", [F32(0.5), np.array(True)]), "Dropout", "training_mode is true"),
    "clip by an array": (one("Clip", [F32([0, 1])]), "Clip", "must be one number"),
    "plus one a row": (one("Add", [normal(4, 1)]), "Add", "one a channel"),
    "plus one a pixel": (one("Add", [normal(3, 4, 4)]), "Add", "one a channel"),
    "a constant by": (([("Div", ["c", "images"], "scores", {})], {"c": F32(1)}, {}), "Div", "by a constant"),
    "joined with a constant": (
        ([("Concat", ["images", "c"], "scores", {"axis": 1})], {"c": normal(2, 1, 4, 4)}, {"batch": 2}), "Concat", "constant",
    ),
    "joined along rows": (([("Concat", ["images", "images"], "scores", {"axis": 2})], {}, {}), "Concat", "axis than 1"),
    "joined along the batch": (([("Concat", ["images", "images"], "scores", {"axis": 0})], {}, {}), "Concat", "axis than 1"),
    "added a channel": (
        ([("GlobalAveragePool", ["images"], "m", {}), ("Add", ["m", "images"], "scores", {})], {}, {}), "Add", "shapes",
    ),
    "a gate of another kind": (
        ([("ReduceMean", ["images", "c"], "m", {}), ("Mul", ["m", "images"], "scores", {})], {"c": I64([3])}, {}),
        "Mul", "one number a channel",
    ),
    "paths that do not join": (
        ([("Relu", ["images"], "a", {}), ("Tanh", ["a"], "b", {}), ("Add", ["a", "b"], "d", {}),
          ("Mul", ["d", "b"], "scores", {})], {}, {}), "Tanh", "paths part at it",
    ),
    "paths of sums that do not join": (
        ([("Relu", ["images"], "a", {}), ("Tanh", ["images"], "b", {}), ("Mul", ["a", "b"], "d", {}),
          ("Add", ["d", "b"], "e", {}), ("Add", ["e", "a"], "scores", {})], {}, {}), "Add", "paths part",
    ),
    "an activation without a layer": (one("Elu"), "Elu", "unknown here"),
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


def relu(**options):
    return model([("Relu", ["images"], "scores", {})], **options)


def with_domain(proto):
    proto.graph.node[0].domain = "com.example"
    proto.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    return proto


def with_branches():
    """A network that chooses between two, by its input."""
    helper = onnx.helper
    output = [helper.make_tensor_value_info("y", 1, None)]
    branches = {
        f"{name}_branch": helper.make_graph([helper.make_node(operator, ["images"], ["y"])], name, [], output)
        for name, operator in (("then", "Relu"), ("else", "Tanh"))
    }
    nodes = [
        ("ReduceMean", ["images"], "m", {"keepdims": 0}),
        ("Greater", ["m", "zero"], "b", {}),
        ("If", ["b"], "scores", branches),
    ]
    return model(nodes, {"zero": F32(0)})


FILES = {
    "another domain": (lambda: with_domain(relu()), r"operator com\.example\.Relu \(scores\) is unknown here"),
    "subgraphs": (with_branches, r"operator ReduceMean \(m\) is supported, but only over axes"),
    "half precision": (lambda: relu(kind=10), r"its input images holds FLOAT16; .* take FLOAT or DOUBLE"),
    "whole numbers": (lambda: relu(kind=7), "its input images holds INT64"),
    "an old operator set": (lambda: relu(opset=6), "operator set 6, and 7 to .* are read"),
    "no axes": (lambda: relu(shape=(), batch=3), r"has the shape \[3\]; expected \(N, C, H, W\)"),
    "two outputs": (
        lambda: model([("Relu", ["images"], "scores", {}), ("Tanh", ["images"], "more", {})], outputs=("scores", "more")),
        "expected one input and one output, got 1 and 2",
    ),
    "no operator reads the input": (
        lambda: model([("Identity", ["c"], "scores", {})], {"c": normal(2)}), "does not depend on its input",
    ),
    "weights in double, images not": (
        lambda: model([("Mul", ["images", "c"], "scores", {})], {"c": np.float64(2)}), "must hold float32",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_files_that_no_model_can_say(case, tmp_path):
    make, message = FILES[case]
    with pytest.raises(CheckpointError, match=message):
        interop.load(save(make(), tmp_path / "graph.onnx"))


def test_constants_among_the_inputs_as_of_old(tmp_path):
    proto = model([FLAT, ("Gemm", ["flat", "w", "b"], "scores", {})], {"w": MATRIX, "b": BIAS}, opset=8)
    proto.ir_version = 3
    proto.graph.input.extend(
        onnx.helper.make_tensor_value_info(c.name, 1, c.dims) for c in proto.graph.initializer
    )
    file = save(proto, tmp_path / "graph.onnx")
    images = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(F32)
    assert_close(interop.load(file)(images), by_onnxruntime(file, images))


def test_functions_are_read_as_what_they_hold(tmp_path):
    helper = onnx.helper
    proto = with_domain(relu())
    proto.graph.node[0].op_type = "Twice"
    nodes = [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Add", ["h", "x"], ["y"])]
    proto.functions.append(
        helper.make_function("com.example", "Twice", ["x"], ["y"], nodes, list(proto.opset_import[:1]))
    )
    file = save(proto, tmp_path / "graph.onnx")
    images = images_for(file)
    assert_close(interop.load(file)(images), by_onnxruntime(file, images))


def test_weights_in_a_file_beside_it(tmp_path):
    proto = model([("Conv", ["images", "w"], "scores", {})], {"w": W})
    onnx.save(
        proto, tmp_path / "graph.onnx", save_as_external_data=True, location="graph.data", size_threshold=0
    )
    images = images_for(tmp_path / "graph.onnx")
    assert_close(
        interop.load(tmp_path / "graph.onnx")(images), by_onnxruntime(tmp_path / "graph.onnx", images)
    )
    (tmp_path / "graph.data").unlink()
    with pytest.raises(CheckpointError, match=r"graph\.data"):
        interop.load(tmp_path / "graph.onnx")


def test_constants_do_not_grow_without_bound(tmp_path):
    """A small file could ask for terabytes: a constant joined to itself, again and again."""
    nodes = [("Concat", [f"c{i}", f"c{i}"], f"c{i + 1}", {"axis": 0}) for i in range(40)]
    nodes += [("Add", ["images", "c40"], "scores", {})]
    file = save(model(nodes, {"c0": normal(64)}), tmp_path / "graph.onnx")
    with pytest.raises(CheckpointError, match=r"operator Concat \(c15\) .* 2,097,152 numbers of constants"):
        interop.load(file)


def test_what_the_layers_are(tmp_path):
    def layers(case):
        nodes, constants, options = EQUAL[case]
        return [*interop.load(save(model(nodes, constants, **options), tmp_path / "graph.onnx"))]

    assert [type(layer) for layer in layers("weights by another name")][1:] == [Affine]
    assert repr(layers("clip below")) == repr([ReLU()])
    assert repr(layers("clip, opset 10")) == repr([Clip(-0.5, 0.25)])
    assert [type(layer) for layer in layers("times and plus")] == [Scale]
    assert [type(layer) for layer in layers("zeros around, then conv")] == [Conv]
    assert [type(layer) for layer in layers("two adds")] == [ReLU, Residual]
    (affine,) = layers("matmul and bias")[1:]
    assert np.array_equal(affine.bias.data, BIAS)
    assert layers("nothing at all") == []
    (norm,) = layers("batch norm, tiny epsilon")
    assert (norm.eps, norm.momentum) == (1e-12, 0.1)
    assert layers("batch norm, opset 8")[0].eps == 1e-5
