"""Small ONNX graphs, written by hand, and onnxruntime, which judges what is read of them."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
FLOAT, DOUBLE = 1, 11


def model(nodes, constants=None, shape=(3, 4, 4), batch="N", opset=None, kind=FLOAT, outputs=("scores",)):
    """A model from images, (batch, *shape), to scores; a node is (operator, inputs, output or outputs, attributes)."""
    helper = onnx.helper
    arrays = [
        onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()
    ]
    made = [
        helper.make_node(operator, inputs, [output] if isinstance(output, str) else output, **more)
        for operator, inputs, output, more in nodes
    ]
    graph = helper.make_graph(
        made,
        "test",
        [helper.make_tensor_value_info("images", kind, [batch, *shape])],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        arrays,
    )
    opset = opset or onnx.defs.onnx_opset_version()
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    proto.ir_version = max(4, helper.find_min_ir_version_for(proto.opset_import))
    for output, inferred in zip(
        proto.graph.output, onnx.shape_inference.infer_shapes(proto).graph.output, strict=True
    ):
        if not inferred.type.tensor_type.HasField("shape"):  # the checker wants one
            inferred = helper.make_tensor_value_info(output.name, kind, ["N", None])
        output.CopyFrom(inferred)
    return proto


def save(proto, file):
    file.write_bytes(proto.SerializeToString())
    return file


def session(file):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    # some fusions are not exact: that to LayerNormalization takes x^3 for x^2
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def by_onnxruntime(file, images):
    return session(file).run(None, {"images": images})[0]


def images_for(file, count=2, seed=0):
    """Random images in the shape and dtype that a file asks for."""
    (given,) = session(file).get_inputs()
    batch = given.shape[0] if isinstance(given.shape[0], int) else count
    dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64}[given.type]
    shape = [size if isinstance(size, int) else 9 for size in given.shape[1:]]
    return np.random.default_rng(seed).standard_normal((batch, *shape)).astype(dtype)


def assert_close(actual, expected, tolerance=1e-5):
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()
