"""Containers: what they compute, how they name what is in them, and what they refuse."""

import numpy as np
import pytest
from strategies import assert_close, normal, upload

from xpcnn.backend import to_host, use_backend
from xpcnn.debug.tracing import traced
from xpcnn.errors import BackwardError, DtypeError, ShapeError
from xpcnn.layers import (
    Affine,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    GlobalAveragePooling,
    Identity,
    Layer,
    Parallel,
    Pooling,
    ReLU,
    Residual,
    Sequential,
    Tanh,
)
from xpcnn.ops import fused as fused_ops


class Scale(Layer):
    """y = factor x; remembers what backward was asked for."""

    def __init__(self, factor):
        self.factor = factor
        self.asked = []

    def forward(self, x):
        self.save_for_backward()
        return self.factor * x

    def backward(self, dy, need_dx=True):
        self.pop_saved()
        self.asked.append(need_dx)
        return self.factor * dy if need_dx else None


X = normal(0, (2, 3, 4, 4))


def test_sequential_is_one_after_another(backend):
    one, other = Affine(4, 3, rng=0).astype("float64"), Affine(3, 2, rng=1).astype("float64")
    x, dy = normal(0, (5, 4), (5, 2))
    model = Sequential(one.copy(), Tanh(), other.copy())
    tanh = Tanh()
    assert_close(model(upload(x)), to_host(other(tanh(one(upload(x))))), "float64")
    wanted = to_host(one.backward(tanh.backward(other.backward(upload(dy)))))
    assert_close(model.backward(upload(dy)), wanted, "float64")
    assert_close(model[0].weight.grad, to_host(one.weight.grad), "float64")


def one_by_one(layers, x, dy):
    """Compute forward and backward of a Sequential, one layer at a time."""
    for layer in layers:
        x = layer(x)
    for layer in reversed(layers):
        dy = layer.backward(dy)
    return x, dy


@pytest.mark.parametrize(
    "pooling", [Pooling(2), Pooling(3, stride=2, padding=1), Pooling(2, stride=1)], ids=repr
)
def test_the_maximum_before_the_relu_is_the_relu_before_the_maximum(backend, pooling):
    """Small integers: maxima that tie, whole windows below zero, zeros."""
    x = np.random.default_rng(0).integers(-3, 3, (4, 3, 7, 8)).astype("float64")
    x[0, 0, 0, 0], x[0, 1, 3, 3], x[1, 0, 2, 2] = np.nan, np.inf, -np.inf
    dy = normal(1, (4, *pooling.output_shape((3, 7, 8))))
    y, dx = one_by_one([ReLU(), pooling.copy()], upload(x), upload(dy))
    model = Sequential(ReLU(), pooling.copy())
    assert np.array_equal(to_host(model(upload(x))), to_host(y), equal_nan=True)
    (step,) = model.steps()
    (saved,) = step.layer._frames.stack[-1].saved
    assert all(value.shape == y.shape for value in saved if hasattr(value, "shape"))  # no large array is kept
    assert np.array_equal(to_host(model.backward(upload(dy))), to_host(dx))


@pytest.mark.parametrize(
    "layers",
    [(ReLU(), Pooling(2, mode="average")), (Tanh(), Pooling(2)), (ReLU(), Identity(), Pooling(2))],
    ids=repr,
)
def test_other_layers_keep_their_order(backend, layers):
    dy = normal(1, (2, 3, 2, 2))
    y, dx = one_by_one([layer.copy() for layer in layers], upload(X), upload(dy))
    model = Sequential(*layers)
    assert np.array_equal(to_host(model(upload(X))), to_host(y))
    assert np.array_equal(to_host(model.backward(upload(dy))), to_host(dx))
    assert not model[0]._frames.stack  # freed


def test_hooks_see_layers_as_they_run(backend):
    model, seen = Sequential(ReLU(), Pooling(2)), []

    def see(name, layer, direction, value):
        seen.append((name, f"{layer}", direction, tuple(value.shape)))

    with traced(model, enter=see):
        model(upload(X))
        model.backward(upload(normal(1, (2, 3, 2, 2))))
    assert [row for row in seen if row[0]] == [
        ("0+1", "ReLU() + Pooling(2)", "forward", (2, 3, 4, 4)),
        ("0+1", "ReLU() + Pooling(2)", "backward", (2, 3, 2, 2)),
    ]
    assert model.plan() == "0+1: ReLU() + Pooling(2)"


def test_without_kernels_the_relu_comes_before_the_maximum(monkeypatch):
    """XPCNN_KERNELS=reference is the textbook's order."""
    calls = []
    for module, name in ((fused_ops, "relu"), (fused_ops, "max_pool")):
        op = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, op=op, name=name: calls.append(name) or op(*args))
    with use_backend("numpy", "reference"):
        Sequential(ReLU(), Pooling(2))(X)
    assert calls == ["relu", "max_pool"]


def test_residual_adds_outputs_and_gradients(backend):
    model = Residual(Scale(3), Scale(10))
    assert_close(model(upload(X)), 13 * X, "float64")
    assert_close(model.backward(upload(X)), 13 * X, "float64")
    plain = Residual(Scale(3))
    assert isinstance(plain.shortcut, Identity)
    assert_close(plain(upload(X)), 4 * X, "float64")
    assert_close(plain.backward(upload(X)), 4 * X, "float64")


def test_parallel_concatenates_channels_and_adds_gradients(backend):
    model = Parallel(Scale(2), Identity(), Scale(5))
    assert_close(model(upload(X)), np.concatenate([2 * X, X, 5 * X], axis=1), "float64")
    dy = normal(1, (2, 9, 4, 4))
    wanted = 2 * dy[:, :3] + dy[:, 3:6] + 5 * dy[:, 6:]
    assert_close(model.backward(upload(dy)), wanted, "float64")
    assert model.output_shape((3, 4, 4)) == (9, 4, 4)


def test_only_the_first_layer_computes_no_dx():
    first, second, third = Scale(1), Scale(2), Scale(3)
    model = Sequential(Sequential(first, second), third)
    for need_dx in (False, True):
        model(X)
        dx = model.backward(X, need_dx=need_dx)
        assert (dx is None) is not need_dx
    assert (first.asked, second.asked, third.asked) == ([False, True], [True, True], [True, True])


@pytest.mark.parametrize("make", [lambda a, b: Residual(a, b), lambda a, b: Parallel(a, b)])
def test_branches_compute_no_dx_unless_needed(make):
    one, other = Scale(1), Scale(2)
    model = make(one, other)
    y = model(X)
    assert model.backward(y, need_dx=False) is None
    assert (one.asked, other.asked) == ([False], [False])


def nested():
    return Sequential(
        Conv(3, 4, 3, padding=1, bias=False, rng=0),
        Residual(Sequential(BatchNorm(4), Conv(4, 4, 1, rng=1)), Conv(4, 4, 1, bias=False, rng=2)),
        Parallel(Conv(4, 2, 1, rng=3), Sequential(Pooling(3, 1, 1), Conv(4, 1, 1, rng=4))),
        GlobalAveragePooling(),
        Dropout(rng=0),
        Affine(3, 2, rng=5),
    )


def test_names_are_dotted_and_in_forward_order():
    assert [name for name, _ in nested().named_parameters()] == [
        "0.weight",
        "1.body.0.weight",
        "1.body.0.bias",
        "1.body.1.weight",
        "1.body.1.bias",
        "1.shortcut.weight",
        "2.0.weight",
        "2.0.bias",
        "2.1.1.weight",
        "2.1.1.bias",
        "5.weight",
        "5.bias",
    ]
    assert [name for name, _ in nested().named_buffers()] == [
        "1.body.0.running_mean",
        "1.body.0.running_variance",
        "4.counter",
    ]
    names = dict(nested().named_layers())
    assert names["2.1.0"].kernel_size == 3
    assert isinstance(names[""], Sequential)


def test_shapes_and_summary_of_nested_containers(backend):
    model = nested().eval()
    x = upload(X.astype(np.float32))
    assert model(x).shape[1:] == model.output_shape((3, 4, 4)) == (2,)
    summary = model.summary((3, 4, 4))
    assert [row.name for row in summary.rows] == [
        "0", "1.body.0", "1.body.1", "1.shortcut", "2.0", "2.1.0", "2.1.1", "3", "4", "5",
    ]  # fmt: skip
    assert [row.output_shape for row in summary.rows][4:7] == [(2, 4, 4), (4, 4, 4), (1, 4, 4)]
    assert summary.multiply_adds == model.multiply_adds((3, 4, 4)) == 16 * (4 * 27 + 16 + 16 + 8 + 4) + 6


def test_nested_containers_learn(backend):
    """A step against the gradient makes the loss smaller."""
    model, x = nested().eval().astype("float64"), upload(X)
    losses = []
    for _ in range(2):
        y = model(x)
        losses.append(float((y * y).sum()))
        model.backward(2 * y)
        for parameter in model.parameters():
            parameter.data = parameter.data - 1e-4 * parameter.grad
    assert losses[1] < losses[0]


def test_a_slice_shares_its_layers():
    model = Sequential(Affine(4, 3), ReLU(), Affine(3, 2))
    head = model[:2]
    assert isinstance(head, Sequential)
    assert len(head) == 2
    assert head[0] is model[0]
    assert model[-1] is model[2]
    assert list(model) == [model[0], model[1], model[2]]
    assert [layer.in_features for layer in model[::2]] == [4, 3]
    with pytest.raises(IndexError):
        model[3]


def test_repr_and_format():
    model = Sequential(Conv(3, 4, 3), Residual(Sequential()))
    assert repr(model) == (
        "Sequential(\n    Conv(3, 4, 3),\n    Residual(\n        body=Sequential(),\n"
        "        shortcut=Identity(),\n    ),\n)"
    )
    assert f"{model}" == "Sequential of 4 layers"
    assert str(model) == repr(model)
    assert repr(Sequential()) == "Sequential()"


def test_an_empty_sequential_is_the_identity(backend):
    model, x = Sequential(), upload(X)
    assert model(x) is x
    assert model.backward(x) is x
    residual = Residual(Scale(2), model)
    assert residual.shortcut is model


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda: Parallel(), ShapeError, "Parallel: expected at least one branch, got none"),
        (lambda: Sequential([ReLU()]), DtypeError, r"Sequential: expected layers, got \[ReLU\(\)\]; pass them"),
        (lambda: Sequential(ReLU), DtypeError, "Sequential: expected layers, got <class"),
        (lambda: Parallel(Identity(), None), DtypeError, "Parallel: expected layers, got None"),
        (lambda: Residual(np.tanh), DtypeError, "Residual: expected layers, got <ufunc 'tanh'>"),
        (lambda: Residual(Conv(3, 4, 1)).output_shape((3, 4, 4)), ShapeError, r"body gives \(4, 4, 4\), shortcut"),
        (lambda: Residual(Pooling(2))(X), ShapeError, r"body gives \(3, 2, 2\), shortcut \(3, 4, 4\); pass a shortcut"),
        (lambda: Parallel(Pooling(2), Identity())(X), ShapeError, r"branches give \(3, 2, 2\), \(3, 4, 4\); only"),
        (lambda: Parallel(Pooling(2), Identity()).output_shape((3, 4, 4)), ShapeError, "pass padding='same' and equal"),
        (lambda: Parallel(Flatten(), Identity())(X), ShapeError, r"branches give \(48,\), \(3, 4, 4\)"),
    ],
)  # fmt: skip
def test_bad_input(use, error, message):
    with pytest.raises(error, match=message):
        use()


def test_backward_before_forward_names_the_model():
    with pytest.raises(BackwardError, match=r"^Sequential of 2 layers: backward\(\) called without"):
        Sequential(ReLU(), Affine(4, 3)).backward(np.zeros((1, 3), np.float32))
