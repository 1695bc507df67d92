"""The papers' networks: exact to the parameter; and narrow copies of each learn, and have the gradients they should."""

from pathlib import Path

import numpy as np
import pytest

from xpcnn import models
from xpcnn.backend import to_device, to_host
from xpcnn.debug.gradients import gradient_check
from xpcnn.errors import ShapeError
from xpcnn.initializers import zeros
from xpcnn.layers import Dropout, LocalResponseNorm, PadChannels, Parallel, ReLU, Residual, Sequential, Tanh
from xpcnn.losses import AuxiliaryCrossEntropy, SoftmaxCrossEntropy
from xpcnn.optimizers import Adam

PARAMETERS = {
    "simple": 433_890,
    "deep": 123_552,
    "lenet5": 61_706,
    "lenet5_1998": 60_000,
    "alexnet": 60_965_224,
    "alexnet_one_stream": 62_378_344,
    "alexnet_torchvision": 61_100_840,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840,
    "vgg13_bn": 133_053_736,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
    "googlenet": 6_998_552,
    "googlenet_torchvision": 6_624_904,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
}
TABLE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
CIFAR = {"resnet20", "resnet32", "resnet44", "resnet56", "resnet110"}
PLAIN = {"simple", "deep", "lenet5", "lenet5_1998"}
QUICK = {"lenet5_1998", "alexnet", "vgg11_bn", "resnet18", "resnet20"}  # one a family
DEEP = {"resnet50", "resnet101", "resnet152", "resnet44", "resnet56", "resnet110", "googlenet_torchvision"}
SIDES = {"alexnet": 67, "googlenet": 48}  # the smallest that go through

every_model = pytest.mark.parametrize("name", PARAMETERS)
all_at_leisure = pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PARAMETERS]
)


def narrow(name, width=1 / 16, **options):
    """A narrow copy for small images, without dropout; and the shape of an image."""
    side = SIDES.get(name.partition("_")[0], 32)
    shape = (1, 28, 28) if name in PLAIN else (3, side, side)
    if name not in PLAIN:
        options |= {"width": 1 / 4 if name in CIFAR else width}
    model = models.BY_NAME[name](4, 0, input_shape=shape, **options)
    for _, layer in model.named_layers():
        if isinstance(layer, Dropout):
            layer.p = 0.0
    return model, shape


def batch(shape, count, dtype="float32"):
    rng = np.random.default_rng(1)
    return to_device(rng.standard_normal((count, *shape)).astype(dtype)), to_device(np.arange(count) % 4)


def test_every_network_is_counted():
    assert list(models.BY_NAME) == list(PARAMETERS)


@every_model
def test_parameters(name):
    shape = (1, 28, 28) if name in PLAIN else (3, 32, 32) if name in CIFAR else (3, 224, 224)
    classes = 10 if shape[1] < 224 else 1000
    model = models.BY_NAME[name](**({} if name in PLAIN else {"initializer": zeros}))
    assert model.output_shape(shape) == (classes,)
    summary = model.summary(shape)
    assert summary.parameters == sum(row.parameters for row in summary.rows) == PARAMETERS[name]
    row = f"| {' x '.join(map(str, shape))} | {summary.parameters:,} | {summary.multiply_adds:,} |"
    assert f"| {name} | {classes:,} {row}\n" in TABLE
    assert f"{PARAMETERS[name]:,}" in summary.splitlines()[-1]
    assert models.BY_NAME[name].__doc__.count(f"{PARAMETERS[name]:,}") == 1


def test_the_auxiliary_heads_count():
    model = models.googlenet(auxiliary=True, initializer=zeros)
    assert model.summary((3, 224, 224)).parameters == 13_378_280


def test_multiply_adds_are_the_published_ones():
    assert (
        models.resnet50(initializer=zeros).multiply_adds((3, 224, 224)) == 4_089_184_256
    )  # torchvision's 4.09 G
    assert models.vgg16(initializer=zeros).multiply_adds((3, 224, 224)) == 15_470_264_320
    assert models.resnet20(initializer=zeros).multiply_adds((3, 32, 32)) == 40_551_040
    paper = models.resnet50(initializer=zeros, paper_stride=True)
    assert 3.7e9 < paper.multiply_adds((3, 224, 224)) < 3.9e9  # the paper's table 1: 3.8 G
    assert paper.summary((3, 224, 224)).parameters == PARAMETERS["resnet50"]


def test_lenet5_of_1998_layer_by_layer():
    sizes = {}
    for name, parameter in models.lenet5_1998().named_parameters():
        sizes[name.partition(".")[0]] = sizes.get(name.partition(".")[0], 0) + parameter.data.size
    assert sizes == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}
    for network, kind, other in ((models.lenet5, ReLU, Tanh), (models.lenet5_1998, Tanh, ReLU)):
        assert {kind} == {type(layer) for _, layer in network().named_layers()} & {ReLU, Tanh}
        chosen = network(activation=other)
        assert {other} == {type(layer) for _, layer in chosen.named_layers()} & {ReLU, Tanh}
        assert sum(p.data.size for p in chosen.parameters()) == PARAMETERS[network.__name__]


def test_what_makes_them_the_papers():
    def layers(name, kind):
        return [
            layer
            for _, layer in models.BY_NAME[name](initializer=zeros).named_layers()
            if isinstance(layer, kind)
        ]

    assert [layer.k for layer in layers("alexnet", LocalResponseNorm)] == [2, 2]
    assert len({id(layer) for layer in layers("alexnet", LocalResponseNorm)}) == 2
    assert len(layers("googlenet", Parallel)) == 9
    assert len(layers("resnet152", Residual)) == 3 + 8 + 36 + 3
    assert [layer.extra for layer in layers("resnet20", PadChannels)] == [16, 32]
    convolutions = models.alexnet(initializer=zeros)[0]
    assert [c.groups for c in convolutions if hasattr(c, "groups")] == [1, 2, 1, 2, 2]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in DEEP else n for n in PARAMETERS]
)
def test_forward_and_backward(backend, name):
    model, shape = narrow(name)
    (x, labels), criterion = batch(shape, 2), SoftmaxCrossEntropy()
    loss = criterion(model(x), labels)
    dx = model.backward(criterion.backward())
    assert np.isfinite(float(loss))
    assert dx.shape == x.shape
    for parameter_name, parameter in model.named_parameters():
        gradient = to_host(parameter.grad)
        assert np.isfinite(gradient).all(), parameter_name
    assert to_host(model.eval()(x)).shape == (2, 4)


@all_at_leisure
def test_sixteen_images_are_learnt_by_heart(name):
    model, shape = narrow(name, width=1 / 8)
    x, labels = batch(shape, 16)
    criterion, optimizer = SoftmaxCrossEntropy(), Adam(model.parameters(), 0.003 if name in PLAIN else 0.01)
    if name.startswith(("vgg", "alexnet", "googlenet")):
        optimizer.lr = 0.002
    for _ in range(120):
        logits = model.train()(x)
        criterion(logits, labels)
        model.backward(criterion.backward(), need_dx=False)
        optimizer.step()
        if (to_host(logits).argmax(axis=1) == to_host(labels)).all():
            return
    pytest.fail(f"{name} still errs after {optimizer.steps} steps")


@pytest.mark.slow
def test_googlenet_with_its_heads_learns_by_heart():
    model = models.googlenet(4, 0, auxiliary=True, width=1 / 16, input_shape=(3, 96, 96))
    for _, layer in model.named_layers():
        if isinstance(layer, Dropout):
            layer.p = 0.0
    x, labels = batch((3, 96, 96), 16)
    criterion, optimizer = AuxiliaryCrossEntropy(0.3), Adam(model.parameters(), 0.002)
    for _ in range(120):
        outputs = model(x)
        assert len(outputs) == 3
        criterion(outputs, labels)
        model.backward(criterion.backward(), need_dx=False)
        optimizer.step()
        if all((to_host(y).argmax(axis=1) == to_host(labels)).all() for y in outputs):
            break
    else:
        pytest.fail("it still errs")
    assert (to_host(model.eval()(x)).argmax(axis=1) == to_host(labels)).all()


@all_at_leisure
def test_the_loss_falls_as_the_gradient_says(name):
    """In float64: along a random direction through all parameters the slope is <gradient, direction>."""
    (model, shape), rng = narrow(name), np.random.default_rng(2)
    model.astype("float64")
    for p in model.parameters():
        if p.data.ndim == 1:  # a bias of zero behind inputs of zero is at the very kink of ReLU
            p.data = p.data + to_device(0.05 * rng.standard_normal(p.data.shape))
    (x, labels), criterion = batch(shape, 8, "float64"), SoftmaxCrossEntropy()
    criterion(model(x), labels)
    model.backward(criterion.backward(), need_dx=False)
    parameters = model.parameters()
    directions = [to_device(rng.standard_normal(p.data.shape)) for p in parameters]
    told = sum(float((p.grad * d).sum()) for p, d in zip(parameters, directions, strict=True))

    def loss_after(step):
        for p, d in zip(parameters, directions, strict=True):
            p.data = p.data + step * d
        loss = float(criterion(model(x), labels))
        for p, d in zip(parameters, directions, strict=True):
            p.data = p.data - step * d
        return loss

    step = 1e-8
    slope = (loss_after(step) - loss_after(-step)) / (2 * step)
    assert abs(slope - told) < 1e-4 * max(abs(slope), abs(told))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lenet5_1998", {}),
        ("alexnet", {}),
        ("vgg11_bn", {}),
        pytest.param("googlenet", {}, marks=pytest.mark.slow),
        ("resnet18", {}),
        pytest.param("resnet50", {"paper_stride": True}, marks=pytest.mark.slow),
        ("resnet20", {}),
    ],
)
def test_gradient_check(name, options):
    """An element of every parameter, of a network of each family; tanh for ReLU, which has kinks and dies."""
    model, shape = narrow(name, width=1 / 32, **options)
    for _, layer in model.named_layers():
        if isinstance(layer, Sequential):
            for index, inner in enumerate(layer):
                if isinstance(inner, ReLU):
                    layer[index] = Tanh()
    x = np.random.default_rng(3).standard_normal((2, *shape))
    errors = gradient_check(model.eval(), to_device(x), samples=1)
    assert max(errors.values()) < 1e-4, errors


def test_images_that_are_too_small_are_refused_by_name():
    for name in ("alexnet", "vgg16", "googlenet"):
        with pytest.raises(
            ShapeError, match=rf"{name} does not fit images of \(1, 28, 28\) .* pass larger images"
        ):
            models.BY_NAME[name](10, 0, input_shape=(1, 28, 28), width=1 / 16)
    with pytest.raises(ShapeError, match="googlenet with auxiliary heads does not fit"):
        models.googlenet(10, 0, auxiliary=True, input_shape=(3, 48, 48), width=1 / 16)


@pytest.mark.parametrize("name", ["lenet5_1998", "resnet20", "resnet18"])
def test_these_fit_mnist_too(name):
    options = {} if name in PLAIN else {"initializer": zeros}
    assert models.BY_NAME[name](10, 0, input_shape=(1, 28, 28), **options).output_shape((1, 28, 28)) == (10,)


def test_a_seed_gives_the_same_network():
    one, two = (dict(models.resnet20(10, 3, width=1 / 4).named_parameters()) for _ in range(2))
    assert all(np.array_equal(to_host(one[name].data), to_host(two[name].data)) for name in one)
