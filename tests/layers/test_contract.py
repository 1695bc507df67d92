"""The contract of layers, checked for every layer: a new one needs an entry in EXAMPLES."""

import inspect

import numpy as np
import pytest
from strategies import distinct, upload

import xpcnn.layers
from xpcnn.debug._checks import CHECKS, check_backends
from xpcnn.layers import (
    GELU,
    Affine,
    Auxiliary,
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

IMAGES = (2, 4, 6, 5)
ODD = {"stride": (2, 1), "padding": ((0, 2), (1, 0)), "dilation": (1, 2)}
EXAMPLES = [  # (a function that makes the layer, the shape of an input)
    (lambda: Affine(5, 3, rng=0), (4, 5)),
    (lambda: Affine(5, 3, bias=False, rng=0), (2, 1, 3, 5)),
    (lambda: Auxiliary([Conv(4, 2, 3, rng=0)], []), IMAGES),  # with heads: test_auxiliary.py
    (lambda: BatchNorm(4), (3, 4)),
    (lambda: BatchNorm(4, eps=1e-3, momentum=0.3), IMAGES),
    (lambda: Clip(), (3, 4)),
    (lambda: Clip(-1, high=1.5), IMAGES),
    (lambda: Conv(4, 6, 3, rng=0), IMAGES),
    (lambda: Conv(4, 6, (3, 2), **ODD, groups=2, rng=0), IMAGES),
    (lambda: Conv(5, 4, 3, 2, "same", bias=False, data_format="NHWC", rng=0), IMAGES),
    (lambda: Conv(4, 4, 2, 3, flip_kernel=True, groups=4, rounding="ceil", rng=0), IMAGES),
    (lambda: ConvTranspose(4, 3, 3, 2, 1, 1, rng=0), IMAGES),
    (lambda: ConvTranspose(4, 6, (3, 2), (1, 3), (1, 0), (0, 2), dilation=(2, 1), groups=2, bias=False, rng=0), IMAGES),
    (lambda: Dropout(rng=0), (6, 5)),
    (lambda: Dropout(0.2, rng=0), IMAGES),
    (lambda: Flatten(), IMAGES),
    (lambda: GELU(), IMAGES),
    (lambda: GlobalAveragePooling(), IMAGES),
    (lambda: GlobalMaxPooling(), IMAGES),
    (lambda: GroupNorm(2, 4), IMAGES),
    (lambda: GroupNorm(1, 5, eps=1e-3), (3, 5)),
    (lambda: Identity(), (3, 2)),
    (lambda: LayerNorm(5), (4, 3, 5)),
    (lambda: LayerNorm((6, 5), eps=1e-3), IMAGES),
    (lambda: LeakyReLU(), (3, 4)),
    (lambda: LeakyReLU(0.2), IMAGES),
    (lambda: LocalResponseNorm(3, alpha=0.5, k=2.0), IMAGES),
    (lambda: LocalResponseNorm(2, beta=0.5), (3, 4)),
    (lambda: PadChannels(3), IMAGES),
    (lambda: Parallel(Conv(4, 2, 1, rng=0), Conv(4, 3, 3, padding=1, rng=1), Pooling(3, 1, 1)), IMAGES),
    (lambda: Parallel(Affine(5, 2, rng=0), Identity()), (4, 5)),
    (lambda: Pooling(2), IMAGES),
    (lambda: Pooling(3, 2, ((1, 0), (0, 1)), rounding="ceil"), IMAGES),
    (lambda: Pooling((3, 2), 2, "same", "average"), IMAGES),
    (lambda: Pooling(3, 2, 1, "average", "ceil", count_include_pad=True), IMAGES),
    (lambda: Product(Sigmoid()), IMAGES),
    (lambda: Product(Sequential(GlobalAveragePooling(), Affine(4, 4, rng=0), Sigmoid())), IMAGES),
    (lambda: Product(Conv(4, 2, (6, 5), rng=0), Conv(4, 2, 1, rng=1)), IMAGES),
    (lambda: ReLU(), IMAGES),
    (lambda: Reshape((5, -1, 2)), IMAGES),
    (lambda: Residual(Conv(4, 4, 3, padding="same", rng=0)), IMAGES),
    (lambda: Residual(Sequential(BatchNorm(4), Tanh(), Conv(4, 2, 2, 2, rng=0)), Conv(4, 2, 2, 2, rng=1)), IMAGES),
    (lambda: Sequential(), (3, 2)),
    (lambda: Sequential(Conv(4, 3, 3, rng=0), BatchNorm(3), Tanh(), Flatten(), Affine(36, 2, rng=0)), IMAGES),
    (lambda: Sequential(Dropout(0.5, rng=0), Affine(5, 3, rng=0), Dropout(0.1, rng=1)), (4, 5)),
    (lambda: SiLU(), (3, 4)),
    (lambda: Scale(4), IMAGES),
    (lambda: Sigmoid(), (3, 4)),
    (lambda: Softmax(), (3, 4)),
    (lambda: Softmax(axis=1), IMAGES),
    (lambda: Sum(Conv(4, 2, 3, padding=1, rng=0), Conv(4, 2, 1, rng=1)), IMAGES),
    (lambda: Tanh(), (3, 4)),
    (lambda: Upsample(2), IMAGES),
    (lambda: Upsample((3, 2), "bilinear"), IMAGES),
]  # fmt: skip

every_layer = pytest.mark.parametrize(
    ("make", "shape"), EXAMPLES, ids=[" ".join(repr(make()).split()) for make, _ in EXAMPLES]
)
both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def inputs(shape, dtype="float32"):
    return upload(distinct(0, shape, dtype) / 8)


def outputs(layer, shape, dtype="float32"):
    """A random dL/dy."""
    return upload(distinct(1, (shape[0], *layer.output_shape(shape[1:])), dtype))


def test_every_public_layer_has_an_example():
    public = {
        value
        for value in vars(xpcnn.layers).values()
        if inspect.isclass(value) and issubclass(value, Layer) and value is not Layer
    }
    assert {type(make()) for make, _ in EXAMPLES} == public
    assert {cls.__name__ for cls in public} <= set(xpcnn.layers.__all__)


every_check = pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])


@every_check
@both_modes
@every_layer
def test_every_layer_keeps_the_contract(backend, make, shape, training, check):
    layer = make().train(training)
    for _, buffer in layer.named_buffers():  # running statistics that are not 0 and 1
        if buffer.data.dtype.kind == "f":
            shift = np.linspace(0.1, 0.5, buffer.data.size, dtype=np.float32)
            buffer.data[...] = buffer.data + upload(shift.reshape(buffer.data.shape))
    check(layer, shape[1:])


@both_modes
@every_layer
def test_all_backends_agree_on_every_layer(make, shape, training):
    check_backends(make().train(training), shape[1:])


@every_layer
def test_the_repr_makes_an_equal_layer(make, shape):
    layer = make()
    again = eval(repr(layer), vars(xpcnn.layers))
    assert repr(again) == repr(layer)
    assert type(again) is type(layer)
    assert again.output_shape(shape[1:]) == layer.output_shape(shape[1:])
    assert [(name, p.data.shape) for name, p in again.named_parameters()] == [
        (name, p.data.shape) for name, p in layer.named_parameters()
    ]
    for (_, one), (_, other) in zip(again.named_layers(), layer.named_layers(), strict=True):
        held = [
            {name: value for name, value in vars(part).items() if isinstance(value, (int, float, str, tuple))}
            for part in (one, other)
        ]
        for settings in held:
            for by_chance in ("key", "trunk"):
                settings.pop(by_chance, None)
        assert held[0] == held[1]


@every_layer
def test_names_come_in_a_fixed_order_and_once(make, shape):
    layer = make()
    names = [name for name, _ in layer.named_parameters()]
    assert names == [name for name, _ in make().named_parameters()]
    assert len(set(names)) == len(names)
    assert [id(p) for p in layer.parameters()] == [id(p) for _, p in layer.named_parameters()]
    for name, _ in layer.named_parameters():
        assert name.rpartition(".")[2] in ("weight", "bias")


@every_layer
def test_train_and_eval_reach_every_layer_inside(make, shape):
    layer = make()
    assert all(part.training for _, part in layer.named_layers())
    assert layer.eval() is layer
    assert not any(part.training for _, part in layer.named_layers())
    assert layer.train() is layer
    assert all(part.training for _, part in layer.named_layers())


@every_layer
def test_a_summary_counts_parameters_and_knows_the_shape(make, shape):
    layer = make()
    summary = layer.summary(shape[1:])
    assert summary.parameters == sum(parameter.data.size for parameter in layer.parameters())
    assert summary.multiply_adds == layer.multiply_adds(shape[1:])
    if summary.rows and not isinstance(layer, (Residual, Parallel)):
        assert summary.rows[-1].output_shape == layer.output_shape(shape[1:])


@every_layer
def test_hyperparameters_of_numpy_promote_nothing(backend, make, shape):
    """A np.float64 makes every float32 array that it is multiplied with float64."""
    layer = make()
    settings = {
        name: np.float64(getattr(layer, name))
        for name in inspect.signature(type(layer)).parameters
        if isinstance(getattr(layer, name, None), float)
    }
    if settings:
        required = {"channels", "groups", "shape", "size"} & set(inspect.signature(type(layer)).parameters)
        layer = type(layer)(**settings, **{name: getattr(layer, name) for name in required})
        assert layer(inputs(shape)).dtype == "float32"
        assert layer.backward(outputs(layer, shape)).dtype == "float32"
