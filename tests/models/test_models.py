import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from xpcnn import models
from xpcnn.backend import to_device, to_host
from xpcnn.debug.gradients import gradient_check
from xpcnn.errors import DtypeError, ShapeError
from xpcnn.layers import Dropout, Layer
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import Adam
from xpcnn.training import evaluate, train

pytestmark = pytest.mark.usefixtures("backend")

# What the papers say, layer by layer. The names of parameters are the numbers of these lines: weights files
# depend on them, so a change here makes every saved model unreadable.
LAYERS = {
    "simple": """
        0 Conv(1, 30, 5)                  30 24 24
        1 ReLU()                          30 24 24
        2 Pooling(2)                      30 12 12
        3 Flatten()                       4320
        4 Affine(4320, 100)               100
        5 ReLU()                          100
        6 Affine(100, 10)                 10
    """,
    "deep": """
        0 Conv(1, 16, 3, padding=1)       16 28 28
        1 ReLU()                          16 28 28
        2 Conv(16, 16, 3, padding=1)      16 28 28
        3 ReLU()                          16 28 28
        4 Pooling(2)                      16 14 14
        5 Conv(16, 32, 3, padding=1)      32 14 14
        6 ReLU()                          32 14 14
        7 Conv(32, 32, 3, padding=2)      32 16 16
        8 ReLU()                          32 16 16
        9 Pooling(2)                      32 8 8
        10 Conv(32, 64, 3, padding=1)     64 8 8
        11 ReLU()                         64 8 8
        12 Conv(64, 64, 3, padding=1)     64 8 8
        13 ReLU()                         64 8 8
        14 Pooling(2)                     64 4 4
        15 Flatten()                      1024
        16 Affine(1024, 50)               50
        17 ReLU()                         50
        18 Dropout()                      50
        19 Affine(50, 10)                 10
    """,
    "lenet5": """
        0 Conv(1, 6, 5, padding=2)        6 28 28
        1 ReLU()                          6 28 28
        2 Pooling(2)                      6 14 14
        3 Conv(6, 16, 5)                  16 10 10
        4 ReLU()                          16 10 10
        5 Pooling(2)                      16 5 5
        6 Flatten()                       400
        7 Affine(400, 120)                120
        8 ReLU()                          120
        9 Affine(120, 84)                 84
        10 ReLU()                         84
        11 Affine(84, 10)                 10
    """,
}
PARAMETERS = {"simple": 433_890, "deep": 123_552, "lenet5": 61_706}
MULTIPLY_ADDS = {
    "simple": 24 * 24 * 30 * 25 + 4320 * 100 + 100 * 10,
    "deep": 9 * (28 * 28 * 16 * (1 + 16) + 14 * 14 * 32 * 16 + 16 * 16 * 32 * 32 + 8 * 8 * 64 * (32 + 64))
    + 1024 * 50
    + 50 * 10,
    "lenet5": 25 * (28 * 28 * 6 + 10 * 10 * 16 * 6) + 400 * 120 + 120 * 84 + 84 * 10,
}
NARROW = {"simple": (1, 8, 8), "deep": (1, 8, 8), "lenet5": (1, 12, 12)}

every_model = pytest.mark.parametrize("name", LAYERS)


def build(name, **settings):
    return models.BY_NAME[name](**{"rng": 0, **settings})


def images(N, shape=(1, 28, 28), seed=0):
    return np.random.default_rng(seed).random((N, *shape), np.float32)


def weights(model):
    return {name: to_host(parameter.data).copy() for name, parameter in model.named_parameters()}


def test_every_network_has_a_name_and_is_a_function_of_the_package():
    assert list(models.BY_NAME)[:3] == ["simple", "deep", "lenet5"]
    for name, network in models.BY_NAME.items():
        assert getattr(models, name) is network
        assert name in models.__all__


@every_model
def test_the_layers_are_the_paper_s(name):
    model = build(name)
    lines = [line.split() for line in LAYERS[name].strip().splitlines()]
    shape = (1, 28, 28)
    assert len(lines) == len(model)
    for (number, *words), (found, layer) in zip(lines, model.children(), strict=True):
        shape = layer.output_shape(shape)
        assert found == number
        assert [*repr(layer).split(), *map(str, shape)] == words


@every_model
def test_the_names_of_parameters_stay_what_weights_files_hold(name):
    lines = [line.split() for line in LAYERS[name].strip().splitlines()]
    expected = [
        f"{number}.{part}"
        for number, kind, *_ in lines
        if kind[:4] in ("Conv", "Affi")
        for part in ("weight", "bias")
    ]
    assert [found for found, _ in build(name).named_parameters()] == expected
    assert [buffer for _, buffer in build(name).named_buffers() if buffer.persistent] == []


@every_model
def test_parameters_and_multiply_adds(name):
    model = build(name)
    assert sum(parameter.data.size for parameter in model.parameters()) == PARAMETERS[name]
    summary = model.summary((1, 28, 28))
    assert (summary.parameters, summary.multiply_adds) == (PARAMETERS[name], MULTIPLY_ADDS[name])


@every_model
def test_forward_and_backward(name):
    model, criterion = build(name), SoftmaxCrossEntropy()
    x = to_device(images(4))
    logits = model(x)
    assert logits.shape == (4, 10)
    assert logits.dtype == np.float32
    loss = float(criterion(logits, to_device(np.array([0, 3, 9, 9]))))
    assert 1 < loss < 10  # ln 10 = 2.3: the weights begin neither too large nor too small
    dx = model.backward(criterion.backward())
    assert dx.shape == x.shape
    assert dx.dtype == np.float32
    for parameter in model.parameters():
        assert parameter.grad.dtype == np.float32
        assert float(abs(parameter.grad).max()) > 0


@every_model
def test_the_gradient_of_the_images_is_left_out_on_request(name):
    model = build(name)
    logits = model(to_device(images(2)))
    assert model.backward(logits, need_dx=False) is None
    assert float(abs(model[0].weight.grad).max()) > 0


@every_model
def test_gradients_are_those_of_finite_differences(name):
    model = build(name, input_shape=NARROW[name])
    errors = gradient_check(model, to_device(images(2, NARROW[name])), samples=12)
    assert len(errors) == 1 + len(model.parameters())
    assert max(errors.values()) < 1e-6, errors


@every_model
@pytest.mark.parametrize("num_classes", [2, 100])
def test_colour_images_and_other_numbers_of_classes(name, num_classes):
    model = build(name, num_classes=num_classes, input_shape=(3, 32, 32))
    y = model(to_device(images(2, (3, 32, 32))))
    assert y.shape == (2, num_classes)
    assert model.output_shape((3, 32, 32)) == (num_classes,)
    assert model.backward(y).shape == (2, 3, 32, 32)


@every_model
def test_images_need_not_be_square(name):
    model = build(name, input_shape=(1, 20, 36))
    assert model(to_device(images(2, (1, 20, 36)))).shape == (2, 10)


@every_model
def test_a_seed_makes_the_weights_and_a_generator_of_that_seed_the_same(name):
    first = weights(build(name, rng=3))
    for other in (build(name, rng=3), build(name, rng=np.random.default_rng(3))):
        for key, array in weights(other).items():
            np.testing.assert_array_equal(array, first[key])
    different = weights(build(name, rng=4))
    for key, array in first.items():
        assert array.dtype == np.float32
        assert key.endswith("bias") or (array != different[key]).mean() > 0.99


@every_model
def test_no_two_layers_share_their_random_numbers(name):
    arrays = [array.ravel()[:50] for key, array in weights(build(name)).items() if key.endswith("weight")]
    for i, first in enumerate(arrays):
        for second in arrays[:i]:
            n = min(len(first), len(second))
            assert abs(np.corrcoef(first[:n], second[:n])[0, 1]) < 0.9


@every_model
def test_weights_begin_as_he_advises(name):
    """Variance 2 / fan-in, biases 0."""
    for key, array in weights(build(name)).items():
        if key.endswith("bias"):
            assert not array.any()
        elif array.size > 1000:
            assert array.std() == pytest.approx((2 / array[0].size) ** 0.5, rel=0.1)


def test_only_deep_drops_out_and_not_in_evaluation():
    x = to_device(images(3))
    for name in LAYERS:
        model = build(name)
        drops = any(isinstance(layer, Dropout) for _, layer in model.named_layers())
        assert drops == (name == "deep")
        first, second = to_host(model(x)), to_host(model(x))
        assert (first != second).any() == drops
        model.eval()
        np.testing.assert_array_equal(to_host(model(x)), to_host(model(x)))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("simple", (1, 4, 28), r"Conv\(1, 30, 5\): expected a height of at least 5, got 4"),
        ("deep", (1, 1, 28), r"Pooling\(2\): expected a height of at least 2, got 1"),
        ("lenet5", (1, 28, 8), r"Conv\(6, 16, 5\): expected a width of at least 5, got 4"),
    ],
)
def test_images_too_small_are_refused_at_construction(name, shape, message):
    with pytest.raises(ShapeError, match=message):
        build(name, input_shape=shape)


@every_model
def test_images_that_do_not_fit_are_refused(name):
    model = build(name)
    with pytest.raises(
        ShapeError, match=r"^Conv\(1, .*: expected 1 channels, got 3 in \(2, 3, 28, 28\); pass in_ch"
    ):
        model(to_device(images(2, (3, 28, 28))))
    with pytest.raises(
        ShapeError, match=r"^Conv\(1, .*: expected a batch of images.*got shape \(1, 28, 28\)"
    ):
        model(to_device(images(1)[0]))
    with pytest.raises(ShapeError, match=r"^Affine\("):
        model(to_device(images(2, (1, 40, 40))))
    with pytest.raises(
        DtypeError, match=r"^Conv\(1, .*: expected float32 like its weight, got uint8; .*/ 255"
    ):
        model(to_device(np.zeros((2, 1, 28, 28), np.uint8)))


@every_model
def test_sixteen_images_are_learned_by_heart(name):
    rng = np.random.default_rng(1)
    dataset = rng.integers(0, 256, (16, 1, 12, 12), np.uint8), rng.integers(0, 10, 16)
    model = build(name, input_shape=(1, 12, 12))
    optimizer, criterion = Adam(model.parameters(), 0.003), SoftmaxCrossEntropy()
    with threadpool_limits(1):  # products this small lose by a second thread, and lose much on a busy machine
        epochs = train(model, criterion, optimizer, dataset, epochs=100, batch_size=16, rng=0)
        losses = [loss for _, loss in epochs]
    assert losses[-1] < losses[0] / 3
    assert evaluate(model, dataset) == 1.0


@every_model
def test_outputs_and_gradients_are_pytorch_s(torch, name):
    """The same network written in PyTorch, with the same weights."""
    nn = torch.nn
    model = build(name).eval()
    theirs = nn.Sequential(*map(translated(nn), model)).eval()
    with torch.no_grad():
        for parameter, (_, own) in zip(theirs.parameters(), model.named_parameters(), strict=True):
            parameter.copy_(torch.tensor(to_host(own.data)))
    x, labels = images(8), np.arange(8)
    logits = theirs(torch.tensor(x))
    loss = nn.functional.cross_entropy(logits, torch.tensor(labels))
    loss.backward()
    criterion = SoftmaxCrossEntropy()
    y = model(to_device(x))
    np.testing.assert_allclose(to_host(y), logits.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert float(criterion(y, to_device(labels))) == pytest.approx(loss.item(), rel=1e-5)
    model.backward(criterion.backward(), need_dx=False)
    for parameter, (key, own) in zip(theirs.parameters(), model.named_parameters(), strict=True):
        np.testing.assert_allclose(
            to_host(own.grad), parameter.grad.numpy(), rtol=1e-3, atol=1e-5, err_msg=f"{name} {key}"
        )


def translated(nn):
    """From a layer to PyTorch's of the same meaning."""

    def translate(layer: Layer):
        match type(layer).__name__:
            case "Conv":
                return nn.Conv2d(
                    layer.in_channels, layer.out_channels, layer.kernel_size, padding=layer.padding
                )
            case "Affine":
                return nn.Linear(layer.in_features, layer.out_features)
            case "Pooling":
                return nn.MaxPool2d(layer.kernel_size)
            case "Dropout":
                return nn.Dropout(layer.p)
            case kind:
                return {"ReLU": nn.ReLU, "Flatten": nn.Flatten}[kind]()

    return translate


def test_width_multiplies_channels_and_hidden_units():
    assert [str(layer) for layer in models.simple(10, 0, width=1 / 2)][::2] == [
        "Conv(1, 15, 5)", "Pooling(2)", "Affine(2160, 50)", "Affine(50, 10)",
    ]  # fmt: skip
    deep = models.deep(10, 0, width=2)
    assert [layer.out_channels for layer in deep if hasattr(layer, "out_channels")] == [
        32,
        32,
        64,
        64,
        128,
        128,
    ]
    assert str(deep[16]) == "Affine(2048, 100)"
