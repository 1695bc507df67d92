"""Every network through ONNX: checker and shape inference in export, onnxruntime, and back into layers that train."""

import numpy as np
import pytest
from onnx_graphs import assert_close, by_onnxruntime

from xpcnn import models
from xpcnn.backend import to_device, to_host
from xpcnn.errors import CheckpointError
from xpcnn.interop import onnx as interop
from xpcnn.layers import (
    GELU,
    Affine,
    Auxiliary,
    Clip,
    Conv,
    ConvTranspose,
    Dropout,
    Flatten,
    GlobalAveragePooling,
    GlobalMaxPooling,
    GroupNorm,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    LocalResponseNorm,
    Parallel,
    Pooling,
    Product,
    ReLU,
    Reshape,
    Residual,
    Scale,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Sum,
    Upsample,
)
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.models.lenet5_1998 import _PartialConv, _RadialBasis

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.usefixtures("onnxruntime")
PLAIN = {"simple", "deep", "lenet5", "lenet5_1998"}
every_model = pytest.mark.parametrize("name", models.BY_NAME)


def narrow(name):
    """A network with few channels, on images as small as it takes, after one batch in training; and images."""
    side = {"alexnet": 67, "googlenet": 48}.get(name.partition("_")[0], 32)
    shape = (1, 28, 28) if name in PLAIN else (3, side, side)
    options = {} if name in PLAIN else {"width": 1 / 16}
    model = models.BY_NAME[name](10, 0, input_shape=shape, **options)
    images = np.random.default_rng(0).random((3, *shape), np.float32)
    model(to_device(images))  # running statistics that are not 0 and 1
    return model.eval(), images


@every_model
def test_onnxruntime_agrees_with_any_batch_size(name, tmp_path):
    model, images = narrow(name)
    interop.export(model, tmp_path / "model.onnx", images.shape[1:])
    scores = to_host(model(to_device(images)))
    for count in (3, 1):
        assert_close(by_onnxruntime(tmp_path / "model.onnx", images[:count]), scores[:count])


@every_model
def test_it_comes_back_as_layers_that_train(name, tmp_path):
    model, images = narrow(name)
    interop.export(model, tmp_path / "model.onnx", images.shape[1:])
    again = interop.load(tmp_path / "model.onnx")
    x = to_device(images)
    assert_close(to_host(again(x)), to_host(model(x)), 1e-6)
    criterion, gradients = SoftmaxCrossEntropy(), []
    for network in (model, again):  # in evaluation, where no coins fall
        criterion(network(x), to_device(np.arange(3)))
        gradients.append(to_host(network.backward(criterion.backward())))
    assert_close(gradients[1], gradients[0], 1e-4)
    assert {type(layer) for _, layer in again.named_layers()} <= {
        type(layer) for _, layer in model.named_layers()
    } | {Conv}
    if name != "lenet5_1998":  # whose table is written out as a whole convolution
        assert sum(p.data.size for p in again.parameters()) == sum(p.data.size for p in model.parameters())


@pytest.mark.parametrize("name", ["lenet5_1998", "resnet20"])
def test_weights_come_from_any_device_and_go_to_it(backend, name, tmp_path):
    model, images = narrow(name)
    interop.export(model, tmp_path / "model.onnx", images.shape[1:])
    x = to_device(images)
    assert_close(to_host(interop.load(tmp_path / "model.onnx")(x)), to_host(model(x)))


TRICKY = [
    Sequential(Conv(3, 4, 3, 2, "same"), Pooling(3, 2, 1, "average", "ceil"), Flatten(), Softmax()),
    Sequential(
        Conv(3, 4, (3, 2), dilation=2, bias=False, flip_kernel=True),
        Sigmoid(),
        Pooling(3, 2, rounding="ceil"),
    ),
    Sequential(Pooling(2, 2, 1, "average", count_include_pad=True), Identity(), Scale(3)),
    Parallel(Residual(Conv(3, 3, 1)), Residual(Conv(3, 2, 1), Conv(3, 2, 3, padding=1)), Identity()),
    Residual(Sequential(Residual(Conv(3, 3, 1)), ReLU(), Parallel(Conv(3, 1, 1), Conv(3, 2, 1)))),
    Auxiliary([Conv(3, 2, 1), ReLU()], [Sequential(Flatten(), Affine(2 * 49, 2))]),
    Identity(),
    Sequential(LeakyReLU(0.2), Clip(-0.5, 0.75), Reshape((7, -1, 3)), Conv(7, 2, 3)),
    Product(Sequential(GlobalAveragePooling(), Affine(3, 3), Sigmoid())),
    Product(Sequential(Conv(3, 2, 7), Sigmoid()), Conv(3, 2, 1)),
    Sequential(Product(Sigmoid()), Flatten(), Scale(147), Affine(147, 2, bias=False), Scale(2)),
    Sequential(
        GlobalAveragePooling(), Reshape((3, 1, 1)), Conv(3, 4, 1), ReLU(), Flatten(), Product(Sigmoid())
    ),
    Sequential(Conv(3, 4, 3, 2), GELU(), ConvTranspose(4, 3, 3, 2), SiLU()),
    ConvTranspose(3, 4, (2, 3), (2, 3), 1, (1, 2), bias=False),
    ConvTranspose(3, 6, 3, 2, ((1, 0), (2, 1)), dilation=2, groups=3),
    ConvTranspose(3, 2, 4, 2, "same"),
    Sequential(Upsample((2, 3)), Upsample((3, 1), "bilinear")),
    Sequential(Conv(3, 4, 1), GroupNorm(2, 4, 1e-3), GroupNorm(4, 4), GlobalMaxPooling(), GroupNorm(1, 4)),
    Sequential(LayerNorm(7, 1e-3), LayerNorm((3, 7, 7)), Flatten(), LayerNorm(147), GELU(), Affine(147, 2)),
    Sum(Conv(3, 3, 1), Identity(), SiLU()),
    Sequential(Sum(Upsample(2), ConvTranspose(3, 3, 2, 2)), Sum(ReLU()), Parallel(GELU(), Identity())),
    Sequential(GlobalMaxPooling(), Affine(3, 2)),
]


@pytest.mark.parametrize("model", TRICKY, ids=range(len(TRICKY)))
def test_windows_and_nests(model, tmp_path):
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.data[...] = rng.standard_normal(parameter.data.shape)
    images = rng.standard_normal((2, 3, 7, 7)).astype(np.float32)
    interop.export(model, tmp_path / "model.onnx", (3, 7, 7))
    scores = model.eval()(images)
    assert_close(by_onnxruntime(tmp_path / "model.onnx", images), scores)
    again = interop.load(tmp_path / "model.onnx")
    assert_close(again(images), scores)
    interop.export(again, tmp_path / "again.onnx", (3, 7, 7))
    assert_close(by_onnxruntime(tmp_path / "again.onnx", images), scores)


def test_the_layers_that_come_back(tmp_path):
    body = Sequential(Conv(3, 4, 3, 2), GroupNorm(2, 4), GELU(), Upsample(2, "bilinear"), SiLU())
    model = Sequential(*body, ConvTranspose(4, 3, 2), LayerNorm((3, 7, 7)), GlobalMaxPooling())
    interop.export(model, tmp_path / "model.onnx", (3, 7, 7))
    kinds = [type(layer) for layer in interop.load(tmp_path / "model.onnx")]
    assert kinds == [type(layer) for layer in model]


def test_a_layer_in_several_places_is_written_once(tmp_path):
    images = np.random.default_rng(0).standard_normal((2, 3, 7, 7)).astype(np.float32)
    shared, same = Conv(3, 3, 3, padding=1, rng=0), Upsample(2)
    model = Sequential(shared, same, ReLU(), shared, same, shared).eval()
    interop.export(model, tmp_path / "model.onnx", (3, 7, 7))
    assert_close(by_onnxruntime(tmp_path / "model.onnx", images), model(images))
    names = [initializer.name for initializer in onnx.load(tmp_path / "model.onnx").graph.initializer]
    assert sorted(names) == ["0.bias", "0.weight", "1.scales"]
    reshaped = Reshape((-1,))  # whose constant depends on where it stands
    model = Sequential(reshaped, Reshape((3, 7, 7)), Pooling(2), reshaped).eval()
    interop.export(model, tmp_path / "model.onnx", (3, 7, 7))
    assert_close(by_onnxruntime(tmp_path / "model.onnx", images), model(images))


def test_the_graph_names_its_weights_and_is_in_the_current_operator_set(tmp_path):
    model, images = narrow("resnet20")
    interop.export(model, tmp_path / "model.onnx", images.shape[1:])
    proto = onnx.load(tmp_path / "model.onnx")
    names = {initializer.name for initializer in proto.graph.initializer}
    assert {name for name, _ in model.named_parameters()} <= names
    assert proto.opset_import[0].version == onnx.defs.onnx_opset_version()
    (images_in,) = proto.graph.input
    assert [d.dim_param or d.dim_value for d in images_in.type.tensor_type.shape.dim] == ["N", 3, 32, 32]


class Unheard(Layer):
    """A layer without an operator."""

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Sequential(Unheard()), r"Unheard\(\) has no ONNX operator"),
        (Conv(3, 2, 1, data_format="NHWC"), "NCHW only"),
        (Affine(7, 2), "put Flatten"),
        (LocalResponseNorm(4), "even size"),
        (Sum(Identity(), ReLU()), "reads several inputs"),
        (Pooling(2, 2, 0, "average", "ceil", count_include_pad=True), "rounding='floor'"),
    ],
)
def test_what_cannot_be_said_is_refused(model, message, tmp_path):
    shape = (7, 7, 3) if "NHWC" in repr(model) else (3, 7, 7)
    shape = (shape, shape) if isinstance(model, Sum) else shape
    with pytest.raises(CheckpointError, match=message):
        interop.export(model, tmp_path / "model.onnx", shape)
    assert not (tmp_path / "model.onnx").exists()


def graph(tmp_path, nodes, rank=4, **constants):
    """Write a graph from images, (N,3,4,4), to scores."""
    helper = onnx.helper
    values = [helper.make_tensor_value_info(name, 1, ["N", 3, 4, 4]) for name in ("images",)]
    arrays = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    made = [helper.make_node(operator, inputs, [output], **more) for operator, inputs, output, more in nodes]
    proto = helper.make_model(
        helper.make_graph(
            made,
            "test",
            values,
            [helper.make_tensor_value_info("scores", 1, ["N", None, None, None][:rank])],
            arrays,
        )
    )
    onnx.save(proto, tmp_path / "graph.onnx")
    return tmp_path / "graph.onnx"


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("Relu", ["images"], "a", {}), ("Elu", ["a"], "b", {}), ("Selu", ["b"], "scores", {})],
         r"operator Elu \(b\) is unknown here; known are: Add, AveragePool"),
        ([("Neg", ["images"], "scores", {})], "Neg .* only as the last part of a squared distance"),
        ([("Concat", ["images", "images"], "scores", {"axis": 2})], "Concat .* another axis than 1"),
        ([("Flatten", ["images"], "scores", {"axis": 2})], "Flatten .* from axis 1 only"),
        ([("MaxPool", ["images"], "scores", {"kernel_shape": [2, 2], "dilations": [2, 2]})], "not dilated"),
        ([("LRN", ["images"], "scores", {"size": 4})], "odd size"),
        ([("Add", ["images", "row"], "scores", {})], "it joins a constant"),
        ([("Relu", ["images"], "a", {}), ("Relu", ["images"], "scores", {})], "nothing leads from it"),
        ([("Relu", ["images"], "a", {}), ("Tanh", ["a"], "b", {}), ("Add", ["a", "b"], "d", {}),
          ("Mul", ["d", "b"], "scores", {})], "paths part at it"),
    ],
)  # fmt: skip
def test_a_graph_that_layers_cannot_say_names_the_operator(nodes, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        interop.load(graph(tmp_path, nodes, row=np.ones(4, np.float32)))


def test_what_other_programs_write_is_read(tmp_path):
    rng = np.random.default_rng(0)
    weight, matrix = rng.standard_normal((4, 3, 3, 3), np.float32), rng.standard_normal((16, 5), np.float32)
    nodes = [
        ("Conv", ["images", "weight"], "a", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ("Constant", [], "shape", {"value": onnx.numpy_helper.from_array(np.int64([0, -1]))}),
        ("Dropout", ["a"], "b", {}),
        ("Reshape", ["b", "shape"], "c", {}),
        ("Gemm", ["c", "matrix"], "scores", {}),
    ]
    file = graph(tmp_path, nodes, rank=2, weight=weight, matrix=matrix)
    model, images = interop.load(file), rng.standard_normal((2, 3, 4, 4), np.float32)
    assert_close(model(images), by_onnxruntime(file, images))
    assert [type(layer) for layer in model] == [Conv, Dropout, Flatten, Affine]


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        interop.load(tmp_path / "absent.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no protocol buffer")
    with pytest.raises(CheckpointError, match=r"broken\.onnx: expected an ONNX model"):
        interop.load(tmp_path / "broken.onnx")


def test_a_table_and_distances_survive(tmp_path):
    model = Sequential(_PartialConv(3, [(0, 1), (2,)], 3), Flatten(), _RadialBasis(8, 3))
    images = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)
    interop.export(model, tmp_path / "model.onnx", (3, 4, 4))
    again = interop.load(tmp_path / "model.onnx")
    assert_close(again(images), model(images))
    assert isinstance(again[2], _RadialBasis)


def test_without_onnx_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(CheckpointError, match=r'run: pip install "xpcnn\[onnx\]"'):
        interop.export(Identity(), tmp_path / "model.onnx", (3,))
