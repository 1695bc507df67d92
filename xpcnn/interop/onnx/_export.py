"""A network in evaluation as a graph of ONNX operators."""

from os import PathLike

from xpcnn import __version__
from xpcnn._disk.files import replacing
from xpcnn.errors import CheckpointError
from xpcnn.interop.onnx._operators import emit
from xpcnn.interop.onnx._written import Graph, require_onnx
from xpcnn.layers import Layer
from xpcnn.layers.shapes import Shape

LARGEST = 2**31
"""Bytes of a protocol buffer, which an ONNX file is."""


def export(model: Layer, file: str | PathLike[str], input_shape: Shape) -> None:
    """Write a network in evaluation as ONNX: without dropout, with the running statistics.

    The graph maps "images", (N, *input_shape) with any N, to "scores"; weights keep their dotted names. It is in the
    newest operator set of the installed `onnx`, and `onnx.checker` and shape inference have passed it.

    Parameters
    ----------
    model : Layer
    file : path
    input_shape : (channels, height, width)
        Of one image; it is fixed in the graph, because paddings depend on it.

    Raises
    ------
    CheckpointError
        If `onnx` is not installed, or no operator computes what a layer does; the layer is named.
    ShapeError
        For an input_shape that does not fit the model.
    """
    onnx = require_onnx()
    check_one_input(model, input_shape)
    model.output_shape(input_shape)
    graph = Graph(model)
    scores = emit(model, graph, "images", input_shape)
    graph.node("Identity", [scores], output="scores")
    float32 = onnx.TensorProto.FLOAT
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "xpcnn",
            [onnx.helper.make_tensor_value_info("images", float32, ["N", *input_shape])],
            [onnx.helper.make_tensor_value_info("scores", float32, ["N", *model.output_shape(input_shape)])],
            graph.initializers,
        ),
        producer_name="xpcnn",
        producer_version=__version__,
        opset_imports=[onnx.helper.make_opsetid("", onnx.defs.onnx_opset_version())],
    )
    proto.ir_version = onnx.helper.find_min_ir_version_for(proto.opset_import)
    if proto.ByteSize() >= LARGEST:
        raise CheckpointError(
            f"export: {model} takes {proto.ByteSize():,} bytes, and an ONNX file must stay below {LARGEST:,}"
        )
    onnx.checker.check_model(proto, full_check=True)  # shape inference included
    with replacing(file) as handle:
        handle.write(proto.SerializeToString())


def check_one_input(model: Layer, input_shape: Shape) -> None:
    """Raise CheckpointError unless the shape is that of one input: a model of several has one for each."""
    if not all(hasattr(size, "__index__") for size in input_shape):
        raise CheckpointError(
            f"export: {model} reads several inputs, {tuple(input_shape)}, and only a network of one input is written; "
            "export its branches one by one"
        )
