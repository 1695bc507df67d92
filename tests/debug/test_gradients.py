"""The public gradient check finds a wrong backward, for dx and for each parameter, and passes a right one."""

import numpy as np
import pytest
from strategies import distinct, normal, upload

from xpcnn.backend import to_device, to_host
from xpcnn.debug.gradients import gradient_check, numerical_gradient
from xpcnn.layers import Affine, BatchNorm, Conv, Dropout, ReLU, Sequential, Sigmoid

X = normal(0, (3, 4))


class Wrong(Affine):
    """An affine layer with a wrong backward: `spoil` maps (dx, dweight, dbias) to something else."""

    def __init__(self, spoil):
        super().__init__(4, 2, rng=0)
        self.spoil = spoil

    def backward(self, dy, need_dx=True):
        dx = super().backward(dy, need_dx)
        dx, self.weight.grad[...], self.bias.grad[...] = self.spoil(dx, self.weight.grad, self.bias.grad)
        return dx


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda dx, dw, db: (dx, dw, db), set()),
        (lambda dx, dw, db: (-dx, dw, db), {"x"}),
        (lambda dx, dw, db: (dx * 1.001, dw, db), {"x"}),
        (lambda dx, dw, db: (dx, dw[::-1], db), {"weight"}),
        (lambda dx, dw, db: (dx, dw, db / 3), {"bias"}),
        (lambda dx, dw, db: (dx, dw, 0 * db), {"bias"}),
        (lambda dx, dw, db: (dx * np.nan, dw, db), {"x"}),
    ],
)
def test_a_planted_wrong_backward_is_found(backend, spoil, found):
    errors = gradient_check(Wrong(spoil), upload(X))
    assert set(errors) == {"x", "weight", "bias"}
    assert {name for name, error in errors.items() if not error < 1e-6} == found


def test_one_wrong_element_is_found_when_all_are_compared(backend):
    def spoil(dx, dw, db):
        dx = dx.copy()
        dx[2, 3] += 1
        return dx, dw, db

    assert gradient_check(Wrong(spoil), upload(X))["x"] > 1e-3


def test_a_gradient_of_zero_is_right(backend):
    """The bias before a batch normalisation has no gradient; its differences are rounding."""
    block = Sequential(Conv(2, 3, 3, rng=0), BatchNorm(3))
    errors = gradient_check(block, upload(normal(1, (2, 2, 5, 5))))
    assert max(errors.values()) < 1e-6


def test_the_layer_is_not_changed(backend):
    model = Sequential(Affine(4, 3, rng=0), BatchNorm(3), Dropout(0.5, rng=0), Sigmoid())
    before = {
        name: to_host(value.data).copy()
        for name, value in [*model.named_parameters(), *model.named_buffers()]
    }
    errors = gradient_check(model, upload(X.astype(np.float32)))
    assert max(errors.values()) < 1e-6
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        assert np.array_equal(to_host(value.data), before[name])
        assert value.data.dtype == before[name].dtype
    assert not any(to_host(parameter.grad).any() for parameter in model.parameters())


def test_the_mode_is_the_layers(backend):
    norm = BatchNorm(4)
    for layer in (norm, norm.eval()):
        assert max(gradient_check(layer, upload(X)).values()) < 1e-6


def test_samples_bounds_the_work():
    calls = 0

    class Counting(ReLU):
        def forward(self, x):
            nonlocal calls
            calls += 1
            return super().forward(x)

    gradient_check(Counting(), distinct(0, (20, 20)), samples=5)
    assert calls <= 2 * 5 + 2


def test_numerical_gradient():
    x = np.array([[1.0, 2.0], [3.0, -1.0]], np.float32)
    found = numerical_gradient(lambda x: float((x**3).sum()), x)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, 3 * x.astype(np.float64) ** 2, rtol=1e-8)
    assert x.tolist() == [[1, 2], [3, -1]]


def test_the_input_may_be_on_the_device(backend):
    assert gradient_check(Affine(4, 2, rng=0), to_device(X))["x"] < 1e-6
