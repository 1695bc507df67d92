"""The check passes what is right, and names what is wrong: each wrong layer fails one check, by its message."""

import numpy as np
import pytest
from users_layers import USERS

from xpcnn import check_layer, optimizers
from xpcnn.backend import to_device, to_host, xp
from xpcnn.checkpoint import load_weights, save_weights
from xpcnn.errors import BackwardError, ContractError, ShapeError
from xpcnn.layers import Affine, Buffer, Layer, Parameter, Sequential, no_grad, one_pass

users = pytest.mark.parametrize(("make", "shape"), USERS.values(), ids=USERS)


@users
def test_layers_of_users_keep_the_contract(make, shape):
    check_layer(make(), shape)


@users
def test_layers_of_users_show_themselves(make, shape, backend):
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
    """y = w x; the others below break it in one place each."""

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
        vars(twin).pop("_frames", None)
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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (WrongGradient, r"the gradient of x by backward\(\) is off by a factor"),
        (WrongShape, r"y is \(3,\) for one sample, output_shape\(\) says \(7,\); let them agree"),
        (Doubles, "y is float64 where x and parameters are float32; create arrays with x.dtype"),
        (
            OwnAttribute,
            r"in two places of one pass dx is wrong|in two places .* not the sum .* save_for_backward\(\)",
        ),
        (WritesGradient, r"two gradients of weight do not add up; use add_gradient\(\)"),
        (AddsGradient, r"the first gradient of weight after an update does not replace|off by a factor"),
        (WritesInput, r"forward\(\) writes into x; work on a copy"),
        (WritesDy, r"backward\(\) writes into dy; work on a copy"),
        (SkipsWithoutDx, "need_dx=False changes the gradients of the parameters"),
        (SharedCopies, "."),
        (Rebinds, "count is another array after a pass; write into it"),
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
    """A layer that took no part in the last pass keeps still."""
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


def test_a_part_that_was_called_alone_does_not_pass_for_the_model_s():
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
    """As somebody does who looks inside, or a test that plants a fault."""
    sound, met = Affine.forward, []
    monkeypatch.setattr(Affine, "forward", lambda self, x: met.append(x) or sound(self, x))
    check_layer(Sequential(Affine(4, 3, rng=0), Affine(3, 2, rng=1)), (4,))
    assert met
