"""check_layer passes right layers; each wrong one fails the check that names its fault."""

import numpy as np
import pytest
from users_layers import USERS

from xpcnn import check_layer, gradient_check, optimizers
from xpcnn.backend import to_device, to_host, xp
from xpcnn.checkpoint import load_weights, save_weights
from xpcnn.errors import BackwardError, ContractError, ShapeError
from xpcnn.layers import Affine, Buffer, Layer, Parameter, Sequential, no_grad, one_pass

users = pytest.mark.parametrize(("make", "shape"), USERS.values(), ids=USERS)


@users
def test_layers_of_users_keep_the_contract(make, shape):
    check_layer(make(), shape)


@users
def test_layers_of_users_have_a_repr_and_a_summary(make, shape, backend):
    layer = make()
    for text in (repr(layer), str(layer), str(layer.summary(shape))):
        assert type(layer).__name__ in text or "total" in text


@users
def test_layers_of_users_learn_and_are_saved(make, shape, backend, tmp_path):
    layer = make()
    optimizer = optimizers.SGD(layer.parameters(), 0.002)
    several = isinstance(shape[0], tuple)
    rng = np.random.default_rng(0)
    arrays = tuple(
        to_device(rng.standard_normal((4, *part)).astype("f")) for part in (shape if several else [shape])
    )
    x, losses = arrays if several else arrays[0], []
    for _ in range(10):
        y = layer(x)
        losses.append(float((y * y).sum()))
        layer.backward(2 * y)
        optimizer.step()
    assert losses[-1] < losses[0]
    save_weights(layer, tmp_path / "weights.safetensors")
    other = make()
    load_weights(other, tmp_path / "weights.safetensors")
    assert np.array_equal(to_host(other.eval()(x)), to_host(layer.eval()(x)))


# ---------------------------------------------------------------- what is wrong, and what the check says


class Scale(Layer):
    """y = w x; each class below has one fault."""

    def __init__(self, features=3):
        self.features = features
        self.weight = Parameter(np.full(features, 2, np.float32))

    def forward(self, x):
        self.save_for_backward(x)
        return x * self.weight.data

    def backward(self, dy, need_dx=True):
        (x,) = self.pop_saved()
        self.weight.add_gradient((dy * x).sum(axis=0))
        return dy * self.weight.data


class WrongGradient(Scale):
    def backward(self, dy, need_dx=True):
        return 1.5 * super().backward(dy, need_dx)


class WrongShape(Scale):
    def output_shape(self, input_shape):
        return (7,)


class Doubles(Scale):
    def forward(self, x):
        return super().forward(x) * xp.ones(1)


class OwnAttribute(Scale):
    def forward(self, x):
        self.x = x
        return x * self.weight.data

    def backward(self, dy, need_dx=True):
        self.weight.add_gradient((dy * self.x).sum(axis=0))
        return dy * self.weight.data


class WritesGradient(Scale):
    def backward(self, dy, need_dx=True):
        (x,) = self.pop_saved()
        self.weight.grad[...] = (dy * x).sum(axis=0)
        return dy * self.weight.data


class AddsGradient(Scale):
    def backward(self, dy, need_dx=True):
        (x,) = self.pop_saved()
        self.weight.grad[...] += (dy * x).sum(axis=0)
        return dy * self.weight.data


class WritesInput(Scale):
    def forward(self, x):
        y = super().forward(x.copy())
        x *= 2
        return y


class WritesDy(Scale):
    def backward(self, dy, need_dx=True):
        dx = super().backward(dy.copy(), need_dx)
        dy *= 2
        return dx


class SkipsWithoutDx(Scale):
    def backward(self, dy, need_dx=True):
        if not need_dx:
            self.pop_saved()
            return None
        return super().backward(dy, need_dx)


class SharedCopies(Scale):
    def __deepcopy__(self, memo):
        twin = type(self)()
        vars(twin).update(vars(self))
        vars(twin).pop("_stack", None)
        return twin


class Rebinds(Scale):
    def __init__(self):
        super().__init__()
        self.count = Buffer(np.zeros(1, np.float32))

    def forward(self, x):
        self.count.data = self.count.data + 1
        return super().forward(x)


class Fortran(Scale):
    def forward(self, x):
        self.save_for_backward(x)
        factor = 1.0 if x.flags["C_CONTIGUOUS"] else 1.1
        return x * self.weight.data * factor


class NoReturn(Scale):
    def forward(self, x):
        super().forward(x)


class NoDx(Scale):
    def backward(self, dy, need_dx=True):
        super().backward(dy)


class Infinite(Scale):
    def backward(self, dy, need_dx=True):
        return super().backward(dy) * np.inf


class Dense(Layer):
    """y = x W + b, with weights of the usual seed 0; each class below has one fault."""

    def __init__(self, inputs=4, outputs=3):
        weight = np.random.default_rng(0).standard_normal((inputs, outputs)).astype(np.float32)
        self.weight, self.bias = Parameter(weight), Parameter(np.full(outputs, 0.5, np.float32))

    def forward(self, x):
        self.save_for_backward(x)
        return x @ self.weight.data + self.bias.data

    def backward(self, dy, need_dx=True):
        (x,) = self.pop_saved()
        self.weight.add_gradient(x.T @ dy)
        self.bias.add_gradient(dy.sum(axis=0))
        return dy @ self.weight.data.T


class NoBiasGradient(Dense):
    def backward(self, dy, need_dx=True):
        (x,) = self.pop_saved()
        self.weight.add_gradient(x.T @ dy)
        return dy @ self.weight.data.T


class Transposed(Dense):
    def backward(self, dy, need_dx=True):
        return super().backward(dy).T


class NotTransposed(Dense):
    def backward(self, dy, need_dx=True):
        super().backward(dy)
        return dy @ self.weight.data


class MeanGradient(Dense):
    def backward(self, dy, need_dx=True):
        (x,) = self.pop_saved()
        self.weight.add_gradient(x.T @ dy / len(x))
        self.bias.add_gradient(dy.sum(axis=0))
        return dy @ self.weight.data.T


class WritesOutput(Dense):
    def forward(self, x):
        y = super().forward(x.copy())
        x[:, : y.shape[1]] = y
        return y


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (
            NoBiasGradient,
            (4,),
            r"the gradient of bias .* is zero, but y depends on bias; call self.bias.add_gradient",
        ),
        (
            Transposed,
            (4,),
            r"backward\(\) returns a dx of \(4, 3\) for x of \(3, 4\); return dL/dx, in the shape of x",
        ),
        (lambda: Transposed(3, 3), (3,), r"the dx that .* is wrong: .* look for a missing transpose"),
        (lambda: NotTransposed(3, 3), (3,), r"the dx that .* is wrong: .* look for a missing transpose"),
        (
            MeanGradient,
            (4,),
            r"the gradient of weight .* is 0.333 times what .*; add up the samples .* take no mean",
        ),
        (WritesOutput, (4,), r"forward\(\) changes x; write y into a new array"),
        (NoReturn, (3,), r"forward\(\) returns None; return y"),
        (NoDx, (3,), r"returns a dx of None for x of \(3, 3\); return dL/dx"),
        (Infinite, (3,), r"the dx that .* is not finite"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_frequent_faults_are_explained(make, shape, message):
    check_layer(Dense(), (4,))
    with np.errstate(all="ignore"), pytest.raises(ContractError, match=message):
        check_layer(make(), shape)


@pytest.mark.parametrize("seed", range(3))
def test_weights_of_any_seed_do_not_hide_a_transposed_gradient(seed):
    """c of the check must not be the weights: c W^T would be symmetric."""
    layer = Transposed(3, 3)
    layer.weight.data[...] = np.random.default_rng(seed).standard_normal((3, 3))
    errors = gradient_check(layer, np.random.default_rng(seed).standard_normal((3, 3)), rng=seed)
    assert errors["x"] > 0.01 > 1e-6 > errors["weight"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            WrongGradient,
            r"the dx that backward\(\) returns is 1.5 times what differences of forward\(\) give; find this factor",
        ),
        (
            WrongShape,
            r"forward\(\) returns \(3,\) for each sample, but output_shape\(\) says \(7,\); correct one of them",
        ),
        (Doubles, "y is float64, but x and the parameters are float32; create arrays with x.dtype"),
        (
            OwnAttribute,
            r"used in two places of a network .* not the sum .* save_for_backward\(\)",
        ),
        (WritesGradient, r"two gradients of weight do not add up; give every gradient to add_gradient\(\)"),
        (AddsGradient, r"the first gradient of weight after an update does not replace"),
        (WritesInput, r"forward\(\) changes x; write y into a new array"),
        (WritesDy, r"backward\(\) changes dy; write dx into a new array"),
        (
            SkipsWithoutDx,
            "need_dx=False changes the gradients of the parameters, that of weight first; leave out dx alone",
        ),
        (
            SharedCopies,
            "shares weight with the original; leave out __deepcopy__",
        ),
        (Rebinds, r"count is another array after a pass; write into it: self.count.data\[...\] = new"),
        (Fortran, "the order of x in memory changes the result"),
    ],
)
def test_what_is_wrong_is_named(make, message):
    check_layer(Scale(), (3,))
    with pytest.raises(ContractError, match=message):
        check_layer(make(), (3,))


# ---------------------------------------------------------------- passes and sums


def test_four_small_batches_and_one_step_are_one_large_batch(backend):
    rng = np.random.default_rng(0)
    x, dy = (to_device(rng.standard_normal((100, size)).astype("f")) for size in (6, 3))
    whole = Sequential(Affine(6, 5, rng=0), Affine(5, 3, rng=1))
    parts = whole.copy()
    steps = [optimizers.Momentum(model.parameters(), 0.01) for model in (whole, parts)]
    for _ in range(3):
        whole(x)
        whole.backward(dy)
        for first in range(0, 100, 25):
            parts(x[first : first + 25])
            parts.backward(dy[first : first + 25])
        for optimizer in steps:
            optimizer.step()
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        np.testing.assert_allclose(to_host(one.data), to_host(other.data), rtol=2e-5, atol=2e-5)


def test_a_gradient_is_used_once(backend):
    """A layer outside of the last pass is not updated."""
    used, unused = Affine(3, 2, rng=0), Affine(3, 2, rng=1)
    optimizer = optimizers.SGD([*used.parameters(), *unused.parameters()], 0.1)
    x = to_device(np.ones((2, 3), np.float32))
    for layer in (used, unused):
        layer.backward(layer(x))
    optimizer.step()
    before = to_host(unused.weight.data).copy()
    used.backward(used(x))
    optimizer.step()
    assert np.array_equal(to_host(unused.weight.data), before)


def test_calls_in_one_pass_and_the_memory_of_unfinished_ones():
    layer, x = Affine(3, 2, rng=0), np.ones((2, 3), np.float32)
    for _ in range(5):
        layer(x)
    assert len(layer._frames.stack) == 1
    with one_pass():
        for _ in range(3):
            layer(x)
    assert len(layer._frames.stack) == 3
    with no_grad():
        layer(x)
    assert not layer._frames.stack


def test_a_forward_outside_of_the_pass_is_refused_in_backward():
    model = Sequential(Affine(3, 3, rng=0), Affine(3, 2, rng=1))
    x = np.ones((2, 3), np.float32)
    y = model(x)
    model[0](2 * x)
    with pytest.raises(BackwardError, match=r"its last forward.* was not part of the call whose backward"):
        model.backward(y)


def test_a_backward_may_compute_again():
    """Less memory for more time: the body runs again in backward."""

    class Again(Layer):
        def __init__(self, body):
            self.body = body

        def forward(self, x):
            self.save_for_backward(x)
            with no_grad():
                return self.body(x)

        def backward(self, dy, need_dx=True):
            self.body(*self.pop_saved())
            return self.body.backward(dy, need_dx)

    check_layer(Again(Sequential(Affine(4, 3, rng=0), Affine(3, 2, rng=1))), (4,))


def test_a_backward_without_need_dx_is_called_without_it():
    class Double(Layer):
        def forward(self, x):
            return 2 * x

        def backward(self, dy):
            return 2 * dy

    check_layer(Sequential(Double(), Affine(3, 2, rng=0)), (3,))


@pytest.mark.parametrize(
    "dy", [np.ones((4, 3), np.float32), np.ones((1, 4), np.float32), np.float32(1), [1, 2]]
)
def test_a_gradient_of_another_shape(dy):
    layer = Affine(3, 4, rng=0)
    layer(np.ones((3, 3), np.float32))
    with pytest.raises(ShapeError, match=r"Affine\(3, 4\): expected dy of \(3, 4\), the shape of y, got"):
        layer.backward(dy)


def test_a_class_whose_forward_is_replaced_goes_on_working(monkeypatch):
    """As a debugger does, or a test that plants a fault."""
    sound, met = Affine.forward, []
    monkeypatch.setattr(Affine, "forward", lambda self, x: met.append(x) or sound(self, x))
    check_layer(Sequential(Affine(4, 3, rng=0), Affine(3, 2, rng=1)), (4,))
    assert met
