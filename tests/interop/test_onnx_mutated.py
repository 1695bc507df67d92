"""Damaged ONNX files: a model that agrees with onnxruntime, or one sentence in a CheckpointError, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
from onnx_graphs import by_onnxruntime, images_for

from xpcnn.errors import CheckpointError
from xpcnn.interop import onnx as interop

onnx = pytest.importorskip("onnx")
FOLDER = Path(__file__).parent.parent / "fixtures" / "onnx"
NAMES = (
    "alexnet.dynamo", "average_pool_ceil.older", "dense_block.dynamo", "global_mean_twice.dynamo", "inception.older",
    "lenet.dynamo", "relu6.older", "reshape_product.older", "scaled.dynamo", "se_linear.older", "se_mean.dynamo",
    "softmax_channels.dynamo", "unflatten.older", "zero_pad.older", "group_norm.older", "layer_norm.dynamo",
    "transposed_conv_groups.dynamo", "interpolate_size.older", "unet_bilinear.dynamo", "efficient.older",
)  # fmt: skip
ODD = (-(2**63), -(2**31), -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 2**31, 2**40, 2**63 - 1)


def flipped(data, rng):
    """Bytes changed, taken out, or put in."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        place, kind = int(rng.integers(len(data))), rng.integers(4)
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[place] = int(rng.integers(256))
        elif kind == 2:
            del data[place : place + int(rng.integers(1, 9))]
        else:
            data[place:place] = rng.bytes(int(rng.integers(1, 9)))
    return bytes(data)


def changed(proto, rng):
    """One thing in the graph is another: an attribute, an operand, an operator, a constant, the operator set."""
    graph = proto.graph
    node = graph.node[rng.integers(len(graph.node))]
    names = [value for other in graph.node for value in (*other.input, *other.output)]
    names += [constant.name for constant in graph.initializer] + [""]
    kind = rng.integers(8)
    if kind == 0 and node.attribute:
        attribute = node.attribute[rng.integers(len(node.attribute))]
        if attribute.ints:
            attribute.ints[rng.integers(len(attribute.ints))] = int(rng.choice(ODD))
        elif rng.integers(2):
            attribute.i = int(rng.choice(ODD))
        else:
            attribute.f = float(rng.choice([0, -1, 1e-12, 2.5, np.nan, np.inf]))
    elif kind == 1 and node.attribute:
        del node.attribute[rng.integers(len(node.attribute))]
    elif kind == 2 and node.input:
        node.input[rng.integers(len(node.input))] = str(rng.choice(names))
    elif kind == 3 and node.input:
        node.input[:] = rng.permutation(list(node.input)).tolist()
    elif kind == 4:
        node.op_type = str(
            rng.choice([other.op_type for other in graph.node] + ["Relu", "Concat", "Softmax", "Mul"])
        )
    elif kind == 5:
        constants = [c for c in graph.initializer if c.data_type == onnx.TensorProto.INT64] or list(
            graph.initializer
        )
        constant = constants[rng.integers(len(constants))]
        array = onnx.numpy_helper.to_array(constant).copy()
        if array.size and array.dtype == np.int64:
            array.flat[rng.integers(array.size)] = rng.choice(ODD)
        elif array.ndim:
            array = array.reshape(rng.permutation(array.shape)) if rng.integers(2) else array[..., :1]
        constant.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), constant.name))
    elif kind == 6:
        proto.opset_import[0].version = int(rng.integers(5, 24))
    elif len(node.attribute):
        copied = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in other_attributes(graph, rng)]
        node.attribute.extend(copied)
    return proto.SerializeToString()


def other_attributes(graph, rng):
    return graph.node[rng.integers(len(graph.node))].attribute


def refusal(file):
    """The sentence with which a file is refused; None if it is read."""
    try:
        interop.load(file)
    except CheckpointError as error:
        return str(error)
    return None


def outcome(file):
    """Load a file; say "refused", or hold what it gives against onnxruntime."""
    if (sentence := refusal(file)) is not None:
        assert "\n" not in sentence
        assert sentence.startswith(f"{file}: ")
        return "refused"
    model = interop.load(file)
    try:
        images = images_for(file)
        expected = by_onnxruntime(file, images)
    except Exception:
        return "refused by onnxruntime"
    with np.errstate(all="ignore"):
        scores = model(images)
    assert scores.shape == expected.shape
    if not np.isfinite(expected).all():
        return "not finite"
    assert np.allclose(scores, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())
    return "equal"


@pytest.mark.parametrize("name", NAMES)
def test_bytes_changed(name, tmp_path):
    data, rng = (FOLDER / f"{name}.onnx").read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        file = tmp_path / "damaged.onnx"
        file.write_bytes(flipped(data, rng))
        assert "\n" not in (refusal(file) or "")


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_with_something_changed(name, tmp_path):
    rng, seen = np.random.default_rng(0), set()
    for _ in range(40):
        file = tmp_path / "changed.onnx"
        file.write_bytes(changed(onnx.load(FOLDER / f"{name}.onnx"), rng))
        seen.add(outcome(file))
    assert {"refused", "equal"} <= seen


@pytest.mark.parametrize("length", [0, 1, 100, 1000])
def test_the_beginning_of_a_file(length, tmp_path):
    (tmp_path / "cut.onnx").write_bytes((FOLDER / "lenet.dynamo.onnx").read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"cut\.onnx: "):
        interop.load(tmp_path / "cut.onnx")
