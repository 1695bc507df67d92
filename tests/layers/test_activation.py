"""Activation layers call the right op, and save what its backward reads."""

import numpy as np
import pytest
from strategies import assert_close, upload

from xpcnn.errors import ShapeError
from xpcnn.layers import Clip, Layer, LeakyReLU, ReLU, Sigmoid, Tanh

X = np.array([[-2.0, -0.5, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("layer", "value", "slope"),
    [
        (ReLU(), lambda x: np.where(x > 0, x, 0), lambda x: x > 0),
        (Sigmoid(), lambda x: 1 / (1 + np.exp(-x)), lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2),
        (LeakyReLU(0.2), lambda x: np.where(x > 0, x, 0.2 * x), lambda x: np.where(x > 0, 1, 0.2)),
        (LeakyReLU(-1), np.abs, lambda x: np.where(x > 0, 1, -1)),
        (Clip(-0.5, 0.75), lambda x: np.clip(x, -0.5, 0.75), lambda x: (x > -0.5) & (x < 0.75)),
        (Clip(-np.inf, 0), lambda x: np.minimum(x, 0), lambda x: x < 0),
        (Tanh(), np.tanh, lambda x: np.cosh(x) ** -2),
    ],
    ids=lambda value: repr(value) if isinstance(value, Layer) else None,
)
def test_value_and_slope(backend, layer, value, slope):
    assert_close(layer(upload(X)), value(X), "float64")
    assert_close(layer.backward(upload(np.full(X.shape, 3.0))), 3 * slope(X), "float64")


@pytest.mark.parametrize(
    "make", [lambda: Clip(6, 0), lambda: Clip(1, 1), lambda: Clip(np.nan), lambda: LeakyReLU(np.inf)]
)
def test_invalid_numbers(make):
    with pytest.raises(ShapeError, match=r"must be"):
        make()
