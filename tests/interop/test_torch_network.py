"""PyTorch is the oracle: the network that we build there computes what ours does, forward and backward."""

import importlib.util

import numpy as np
import pytest

from xpcnn import models
from xpcnn.backend import to_device, to_host
from xpcnn.errors import CheckpointError, ExtraError, ShapeError
from xpcnn.interop import torch as interop
from xpcnn.interop.torch import network
from xpcnn.interop.torch._modules import require_torch
from xpcnn.layers import (
    GELU,
    Affine,
    BatchNorm,
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
    PadChannels,
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
    Tanh,
    Upsample,
)
from xpcnn.losses import AuxiliaryCrossEntropy, SoftmaxCrossEntropy

installed = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.usefixtures("torch")

NETWORKS = {  # name: shape of an image, width
    "simple": ((1, 28, 28), 1 / 4),
    "deep": ((1, 28, 28), 1 / 4),
    "lenet5": ((1, 28, 28), None),
    "lenet5_1998": ((1, 28, 28), None),
    "resnet20": ((3, 32, 32), 1 / 4),
    "resnet18": ((3, 64, 64), 1 / 16),
    "resnet50": ((3, 64, 64), 1 / 16),
    "alexnet": ((3, 67, 67), 1 / 16),
    "alexnet_torchvision": ((3, 64, 64), 1 / 16),
    "vgg11_bn": ((3, 32, 32), 1 / 16),
    "googlenet": ((3, 64, 64), 1 / 16),
    "googlenet_torchvision": ((3, 64, 64), 1 / 16),
}


def _siamese():
    shared = Conv(2, 2, 3, padding=1, rng=0)
    return Sequential(shared, ReLU(), Sum(shared, Tanh()))


LAYERS = {
    "slope": (LeakyReLU(0.2), (2, 4, 5)),
    "limits": (Clip(-0.5, 0.75), (2, 4, 5)),
    "reshape": (Reshape((4, -1)), (2, 4, 5)),
    "gate a pixel": (Product(Sigmoid()), (2, 4, 5)),
    "gate a channel": (
        Product(Sequential(GlobalAveragePooling(), Affine(2, 2, rng=0), Sigmoid()), Conv(2, 2, 1, rng=1)),
        (2, 4, 5),
    ),
    "unequal padding": (Conv(2, 3, 3, padding=((1, 0), (2, 1)), rng=0), (2, 7, 8)),
    "same, even kernel": (Conv(2, 3, 4, stride=3, padding="same", rng=0), (2, 7, 8)),
    "ceil": (Conv(2, 3, 3, stride=2, rounding="ceil", rng=0), (2, 8, 8)),
    "groups, dilation, no bias": (Conv(4, 6, 3, dilation=2, groups=2, bias=False, rng=0), (4, 9, 9)),
    "flipped": (Conv(2, 3, 3, flip_kernel=True, rng=0), (2, 6, 6)),
    "maximum": (Pooling(3, 2, 1), (2, 8, 8)),
    "maximum, ceil": (Pooling(3, 2, rounding="ceil"), (2, 8, 8)),
    "maximum, unequal": (Pooling(3, 2, ((1, 0), (0, 2))), (2, 8, 9)),
    "maximum, much padding": (Pooling(3, 2, 2), (2, 8, 8)),
    "mean": (Pooling(3, 2, 1, mode="average"), (2, 8, 8)),
    "mean, counted": (Pooling(3, 2, 1, mode="average", count_include_pad=True), (2, 8, 8)),
    "mean, counted, ceil": (
        Pooling(3, 2, 1, mode="average", count_include_pad=True, rounding="ceil"),
        (2, 7, 8),
    ),
    "mean, same": (Pooling(2, 1, "same", mode="average"), (2, 5, 6)),
    "mean, unequal, counted, ceil": (
        Pooling(3, 2, ((1, 0), (0, 2)), mode="average", count_include_pad=True, rounding="ceil"),
        (2, 8, 7),
    ),
    "one axis normalised": (BatchNorm(5), (5,)),
    "two axes normalised": (BatchNorm(5), (5, 3)),
    "response, even": (LocalResponseNorm(4, alpha=0.5, k=2), (6, 3, 3)),
    "transposed": (ConvTranspose(2, 3, 3, 2, 1, output_padding=1, rng=0), (2, 4, 5)),
    "transposed, groups, dilation, no bias": (
        ConvTranspose(4, 6, (3, 2), (2, 3), (1, 0), (1, 2), dilation=(2, 1), groups=2, bias=False, rng=0),
        (4, 4, 5),
    ),
    "transposed, unequal": (ConvTranspose(2, 3, 4, 2, ((1, 0), (0, 2)), rng=0), (2, 4, 5)),
    "transposed, same": (ConvTranspose(2, 3, 4, 3, "same", rng=0), (2, 4, 5)),
    "nearest": (Upsample((2, 3)), (2, 4, 5)),
    "bilinear": (Upsample((2, 3), "bilinear"), (2, 4, 5)),
    "bilinear, one row": (Upsample(4, "bilinear"), (2, 1, 5)),
    "groups normalised": (GroupNorm(2, 4, 1e-3), (4, 3, 5)),
    "channels normalised": (GroupNorm(4, 4), (4, 3, 5)),
    "features in groups": (GroupNorm(2, 8), (8,)),
    "rows normalised": (LayerNorm(5, 1e-3), (4, 3, 5)),
    "images normalised": (LayerNorm((4, 3, 5)), (4, 3, 5)),
    "gelu": (GELU(), (2, 4, 5)),
    "silu": (SiLU(), (2, 4, 5)),
    "maximum of the image": (GlobalMaxPooling(), (2, 4, 5)),
    "sum": (Sum(SiLU(), Conv(2, 2, 1, rng=0), skip=Identity()), (2, 4, 5)),
    "sum of one": (Sum(GELU()), (2, 4, 5)),
    "one layer in two places": (_siamese(), (2, 4, 5)),
    "branches": (Parallel(Identity(), a=ReLU(), b=PadChannels(2)), (3, 4, 4)),
    "shortcut": (Residual(Tanh(), Sigmoid()), (3, 4, 4)),
    "scale": (Scale(3), (3, 4, 4)),
    "softmax": (Softmax(axis=1), (5,)),
    "rows": (Affine(4, 3, bias=False, rng=0), (2, 4)),
}


def narrow(name):
    shape, width = NETWORKS[name]
    options = {} if width is None else {"width": width}
    model = models.BY_NAME[name](10, 0, input_shape=shape, **options)
    for _, layer in model.named_layers():
        if isinstance(layer, Dropout):
            layer.p = 0.0
    return model, shape


def drawn(shape, count=4, seed=1):
    return np.random.default_rng(seed).standard_normal((count, *shape), np.float32)


def near(ours, theirs, tolerance):
    ours, theirs = to_host(ours), theirs.detach().numpy()
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max() <= tolerance * max(np.abs(theirs).max(), 1e-9)


@needs_torch
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_pytorch(backend, name):
    torch = require_torch()
    model, shape = narrow(name)
    twin = network(model.eval(), shape)
    assert not twin.training
    x = drawn(shape)
    assert near(model(to_device(x)), twin(torch.from_numpy(x)), 1e-4)


@needs_torch
@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradients_of_a_step_are_those_of_pytorch(name):
    torch = require_torch()
    model, shape = narrow(name)
    twin, criterion = network(model.train(), shape).double(), SoftmaxCrossEntropy()
    model.astype("float64")  # in float32 a ReLU near zero may fall on either side
    x, labels = drawn(shape).astype(np.float64), np.arange(4)
    criterion(model(x), labels)
    model.backward(criterion.backward())
    torch.nn.functional.cross_entropy(twin(torch.from_numpy(x)), torch.from_numpy(labels)).backward()
    largest = max(float(p.grad.abs().max()) for p in twin.parameters())
    ours = dict(model.named_parameters())
    assert len(ours) == sum(1 for _ in twin.parameters())
    for (key, parameter), theirs in zip(ours.items(), twin.parameters(), strict=True):
        apart = np.abs(parameter.grad - theirs.grad.numpy()).max()
        assert apart <= 1e-4 * theirs.grad.abs().max() + 1e-9 * largest, key


@needs_torch
@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_and_its_gradients_are_pytorch_s(backend, case):
    torch = require_torch()
    layer, shape = LAYERS[case]
    layer = layer.copy().to_device()
    for seed, parameter in enumerate(layer.parameters()):  # some begin as 1 and 0
        parameter.data[...] = to_device(drawn(parameter.data.shape[1:], len(parameter.data), seed))
    x = drawn(shape)
    twin, theirs = network(layer.train(), shape), torch.from_numpy(x.copy()).requires_grad_()
    y, y_there = layer(to_device(x)), twin(theirs)
    assert near(y, y_there, 1e-5)
    dy = drawn(y.shape[1:], seed=2)
    y_there.backward(torch.from_numpy(dy))
    assert near(layer.backward(to_device(dy)), theirs.grad, 1e-5)
    if case != "flipped":  # its weights lie the other way round there
        for ours, parameter in zip(layer.parameters(), twin.parameters(), strict=True):
            assert near(ours.grad, parameter.grad, 1e-4)


@needs_torch
def test_auxiliary_heads_speak_in_training_only():
    torch = require_torch()
    model = models.googlenet(10, 0, auxiliary=True, input_shape=(3, 224, 224), width=1 / 16)
    x = drawn((3, 224, 224), 2)
    for _, layer in model.named_layers():
        if isinstance(layer, Dropout):
            layer.p = 0.0
    twin = network(model.train(), (3, 224, 224))
    ours, theirs = model(x), twin(torch.from_numpy(x))
    assert len(ours) == len(theirs) == 3
    assert all(near(y, there, 1e-4) for y, there in zip(ours, theirs, strict=True))
    AuxiliaryCrossEntropy()(ours, np.arange(2))
    assert near(model.eval()(x), twin.eval()(torch.from_numpy(x)), 1e-4)


@needs_torch
def test_what_pytorch_trained_comes_back():
    torch = require_torch()
    model, shape = narrow("resnet20")
    twin, x = network(model.train(), shape), torch.from_numpy(drawn(shape))
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    torch.nn.functional.cross_entropy(twin(x), torch.arange(4)).backward()
    optimizer.step()
    before = to_host(model.eval()(x.numpy()))
    interop.load(model, twin.state_dict())
    after = twin.eval()(x)
    assert near(model(x.numpy()), after, 1e-4)
    assert not near(before, after, 1e-2)


@needs_torch
def test_weights_are_copies():
    model = Sequential(Flatten(), Affine(4, 2, rng=0))
    twin = network(model, (1, 2, 2))
    before = model.parameters()[0].data.copy()
    with require_torch().no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert np.array_equal(model.parameters()[0].data, before)


@needs_torch
def test_a_layer_without_a_module_is_named():
    class Cube(Layer):
        def forward(self, x):
            return x**3

    with pytest.raises(CheckpointError, match=r"Cube\(\) has no module in PyTorch"):
        network(Sequential(Cube()), (3,))
    with pytest.raises(CheckpointError, match="data_format='NCHW'"):
        network(Conv(3, 4, 3, data_format="NHWC"), (8, 8, 3))


@needs_torch
def test_a_layer_in_places_of_other_sizes_and_several_inputs_are_refused():
    shared = Conv(2, 2, 3, padding=1)
    with pytest.raises(
        CheckpointError, match=r"Conv\(.*\) is used on inputs of \(2, 8, 8\) and of \(2, 4, 4\)"
    ):
        network(Sequential(shared, Pooling(2), shared), (2, 8, 8))
    assert (
        network(Sequential(Upsample(2), Pooling(2), Upsample(2)), (2, 8, 8)) is not None
    )  # nothing to learn
    with pytest.raises(CheckpointError, match="reads several inputs"):
        network(Sum(Identity(), ReLU()), ((2,), (2,)))


@needs_torch
def test_images_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="expected 3 channels"):
        network(Conv(3, 4, 3), (1, 8, 8))


@pytest.mark.skipif(installed, reason="PyTorch is installed")
def test_without_pytorch_one_sentence_says_how_to_get_it():
    with pytest.raises(ExtraError, match=r"^PyTorch is not installed; run: pip install torch$"):
        network(ReLU(), (3,))
