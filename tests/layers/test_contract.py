"""What every layer promises, held against every layer: a new one needs an entry in EXAMPLES."""

import copy
import inspect
import pickle

import numpy as np
import pytest
from strategies import distinct, unchanged, upload

import xpcnn.layers
from xpcnn.backend import to_host
from xpcnn.errors import BackwardError
from xpcnn.gradients import gradient_check
from xpcnn.layers import (
    Affine,
    Auxiliary,
    BatchNorm,
    ChannelScale,
    Clip,
    Conv,
    Dropout,
    Flatten,
    GlobalAveragePooling,
    Identity,
    Layer,
    LeakyReLU,
    LocalResponseNorm,
    PadChannels,
    Parallel,
    PartialConv,
    Pooling,
    Product,
    RadialBasis,
    ReLU,
    Reshape,
    Residual,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    no_grad,
)

IMAGES = (2, 4, 6, 5)
ODD = {"stride": (2, 1), "padding": ((0, 2), (1, 0)), "dilation": (1, 2)}
EXAMPLES = [  # (a function that makes the layer, the shape of an input)
    (lambda: Affine(5, 3, rng=0), (4, 5)),
    (lambda: Affine(5, 3, bias=False, rng=0), (2, 1, 3, 5)),
    (lambda: Auxiliary([Conv(4, 2, 3, rng=0)], []), IMAGES),  # with heads: test_auxiliary.py
    (lambda: BatchNorm(4), (3, 4)),
    (lambda: BatchNorm(4, eps=1e-3, momentum=0.3), IMAGES),
    (lambda: ChannelScale(4), IMAGES),
    (lambda: Clip(), (3, 4)),
    (lambda: Clip(-1, high=1.5), IMAGES),
    (lambda: Conv(4, 6, 3, rng=0), IMAGES),
    (lambda: Conv(4, 6, (3, 2), **ODD, groups=2, rng=0), IMAGES),
    (lambda: Conv(5, 4, 3, 2, "same", bias=False, data_format="NHWC", rng=0), IMAGES),
    (lambda: Conv(4, 4, 2, 3, flip_kernel=True, groups=4, rounding="ceil", rng=0), IMAGES),
    (lambda: Dropout(rng=0), (6, 5)),
    (lambda: Dropout(0.2, rng=0), IMAGES),
    (lambda: Flatten(), IMAGES),
    (lambda: GlobalAveragePooling(), IMAGES),
    (lambda: Identity(), (3, 2)),
    (lambda: LeakyReLU(), (3, 4)),
    (lambda: LeakyReLU(0.2), IMAGES),
    (lambda: LocalResponseNorm(3, alpha=0.5, k=2.0), IMAGES),
    (lambda: LocalResponseNorm(2, beta=0.5), (3, 4)),
    (lambda: PadChannels(3), IMAGES),
    (lambda: Parallel(Conv(4, 2, 1, rng=0), Conv(4, 3, 3, padding=1, rng=1), Pooling(3, 1, 1)), IMAGES),
    (lambda: Parallel(Affine(5, 2, rng=0), Identity()), (4, 5)),
    (lambda: PartialConv(4, [(0, 1), (3,), (0, 1, 2, 3)], (3, 2), 2, 1, rng=0), IMAGES),
    (lambda: Pooling(2), IMAGES),
    (lambda: Pooling(3, 2, ((1, 0), (0, 1)), rounding="ceil"), IMAGES),
    (lambda: Pooling((3, 2), 2, "same", "average"), IMAGES),
    (lambda: Pooling(3, 2, 1, "average", "ceil", count_include_pad=True), IMAGES),
    (lambda: Product(Sigmoid()), IMAGES),
    (lambda: Product(Sequential(GlobalAveragePooling(), Affine(4, 4, rng=0), Sigmoid())), IMAGES),
    (lambda: Product(Conv(4, 2, (6, 5), rng=0), Conv(4, 2, 1, rng=1)), IMAGES),
    (lambda: RadialBasis(5, 3, rng=0), (4, 5)),
    (lambda: ReLU(), IMAGES),
    (lambda: Reshape((5, -1, 2)), IMAGES),
    (lambda: Residual(Conv(4, 4, 3, padding="same", rng=0)), IMAGES),
    (lambda: Residual(Sequential(BatchNorm(4), Tanh(), Conv(4, 2, 2, 2, rng=0)), Conv(4, 2, 2, 2, rng=1)), IMAGES),
    (lambda: Sequential(), (3, 2)),
    (lambda: Sequential(Conv(4, 3, 3, rng=0), BatchNorm(3), Tanh(), Flatten(), Affine(36, 2, rng=0)), IMAGES),
    (lambda: Sequential(Dropout(0.5, rng=0), Affine(5, 3, rng=0), Dropout(0.1, rng=1)), (4, 5)),
    (lambda: Sigmoid(), (3, 4)),
    (lambda: Softmax(), (3, 4)),
    (lambda: Softmax(axis=1), IMAGES),
    (lambda: Tanh(), (3, 4)),
]  # fmt: skip

every_layer = pytest.mark.parametrize(
    ("make", "shape"), EXAMPLES, ids=[" ".join(repr(make()).split()) for make, _ in EXAMPLES]
)
both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def inputs(shape, dtype="float32"):
    return upload(distinct(0, shape, dtype) / 8)


def outputs(layer, shape, dtype="float32"):
    """A random dL/dy."""
    return upload(distinct(1, (shape[0], *layer.output_shape(shape[1:])), dtype))


def gradients(layer):
    return {name: to_host(parameter.grad).copy() for name, parameter in layer.named_parameters()}


def equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_every_public_layer_has_an_example():
    public = {
        value
        for value in vars(xpcnn.layers).values()
        if inspect.isclass(value) and issubclass(value, Layer) and value is not Layer
    }
    assert {type(make()) for make, _ in EXAMPLES} == public
    assert {cls.__name__ for cls in public} <= set(xpcnn.layers.__all__)


@both_dtypes
@both_modes
@every_layer
def test_shapes_and_dtypes(backend, make, shape, training, dtype):
    layer, x = make().astype(dtype).train(training), inputs(shape, dtype)
    y = layer(x)
    assert y.shape == (shape[0], *layer.output_shape(shape[1:]))
    dx = layer.backward(outputs(layer, shape, dtype))
    assert dx.shape == shape
    values = [parameter.grad for parameter in layer.parameters()]
    values += [value.data for _, value in [*layer.named_parameters(), *layer.named_buffers()]]
    counts = {"uint64", "int64"}  # the counter of Dropout, the table of PartialConv
    assert {str(array.dtype) for array in (y, dx, *values)} <= {dtype, *counts}


@both_modes
@every_layer
def test_gradients_are_those_of_central_differences(backend, make, shape, training):
    layer = make().train(training)
    for _, buffer in layer.named_buffers():  # running statistics that are not 0 and 1
        if buffer.data.dtype.kind == "f":
            shift = np.linspace(0.1, 0.5, buffer.data.size, dtype=np.float32)
            buffer.data = buffer.data + upload(shift.reshape(buffer.data.shape))
    errors = gradient_check(layer, inputs(shape, "float64"), samples=30)
    assert set(errors) == {"x", *dict(layer.named_parameters())}
    assert max(errors.values()) < 1e-6, errors


@both_modes
@every_layer
def test_without_dx_the_gradients_are_written_all_the_same(backend, make, shape, training):
    full, without = make().train(training), make().train(training)
    x, dy = inputs(shape), outputs(full, shape)
    full(x)
    full.backward(dy)
    without(x)
    without.backward(dy, need_dx=False)
    assert equal(gradients(full), gradients(without))


@every_layer
def test_backward_writes_and_never_adds(backend, make, shape):
    layer, x = make().eval(), inputs(shape)
    dy = outputs(layer, shape)
    runs = []
    for rubbish in (0, np.nan):
        for parameter in layer.parameters():
            parameter.grad[...] = rubbish
        held = [parameter.grad for parameter in layer.parameters()]
        layer(x)
        layer.backward(dy)
        runs.append(gradients(layer))
        assert all(parameter.grad is grad for parameter, grad in zip(layer.parameters(), held, strict=True))
    assert equal(*runs)
    assert all(gradient.any() for gradient in runs[0].values())


@both_modes
@every_layer
def test_arguments_are_only_read(backend, make, shape, training):
    layer, x = make().train(training), inputs(shape)
    dy = outputs(layer, shape)
    with unchanged(x, dy, *(parameter.data for parameter in layer.parameters())):
        layer(x)
        layer.backward(dy)


@every_layer
def test_backward_belongs_to_one_forward(backend, make, shape):
    layer, x = make(), inputs(shape)
    if isinstance(layer, Sequential) and not len(layer):
        return  # it holds nothing that could miss
    dy = outputs(layer, shape)
    name = "(" + "|".join(type(part).__name__ for _, part in layer.named_layers()) + ")"
    missing = (
        rf"^{name}(\(| of).*: backward\(\) called without a matching forward\(\); call the layer on x first"
    )
    with pytest.raises(BackwardError, match=missing):
        layer.backward(dy)
    layer(x)
    layer.backward(dy)
    with pytest.raises(BackwardError, match=missing):
        layer.backward(dy)
    with no_grad():
        layer(x)
    with pytest.raises(BackwardError, match=missing):
        layer.backward(dy)


@both_modes
@every_layer
def test_no_grad_keeps_nothing_and_changes_no_value(backend, make, shape, training):
    layer, other, x = make().train(training), make().train(training), inputs(shape)
    wanted = to_host(other(x))
    layer(x)  # what an earlier forward kept goes, too
    again = make().train(training)
    with no_grad():
        found = to_host(again(x))
        layer(x)
    assert np.array_equal(found, wanted)
    assert all(part._saved is None for model in (layer, again) for _, part in model.named_layers())


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
            for by_chance in ("key", "layers", "branches", "trunk"):
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


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer)), lambda layer: layer.copy()],
    ids=["deepcopy", "pickle", "copy"],
)
@every_layer
def test_a_copy_computes_the_same_and_shares_nothing(backend, make, shape, duplicate):
    layer, x = make(), inputs(shape)
    layer(x)  # state beyond the first
    layer.backward(outputs(layer, shape))
    twin = duplicate(layer)
    assert np.array_equal(to_host(twin(x)), to_host(layer(x)))
    twin.backward(outputs(twin, shape))
    layer.backward(outputs(layer, shape))
    assert equal(gradients(layer), gradients(twin))
    before = {name: to_host(parameter.data).copy() for name, parameter in layer.named_parameters()}
    for parameter in twin.parameters():
        parameter.data[...] = 0
        parameter.grad[...] = 0
    assert equal(before, {name: to_host(parameter.data) for name, parameter in layer.named_parameters()})
    assert all(to_host(parameter.grad).any() for parameter in layer.parameters())


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
    """A np.float64 would turn every float32 array it meets into float64."""
    layer = make()
    settings = {
        name: np.float64(getattr(layer, name))
        for name in inspect.signature(type(layer)).parameters
        if isinstance(getattr(layer, name, None), float)
    }
    if settings:
        required = {"channels", "size"} & set(inspect.signature(type(layer)).parameters)
        layer = type(layer)(**settings, **{name: getattr(layer, name) for name in required})
        assert layer(inputs(shape)).dtype == "float32"
        assert layer.backward(outputs(layer, shape)).dtype == "float32"
