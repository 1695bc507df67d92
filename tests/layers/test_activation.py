"""Activation layers call the right op and keep what its backward wants."""

import numpy as np
import pytest
from strategies import assert_close, upload

from xpcnn.layers import ReLU, Sigmoid, Tanh

X = np.array([[-2.0, -0.5, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("layer", "value", "slope"),
    [
        (ReLU(), lambda x: np.where(x > 0, x, 0), lambda x: x > 0),
        (Sigmoid(), lambda x: 1 / (1 + np.exp(-x)), lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2),
        (Tanh(), np.tanh, lambda x: np.cosh(x) ** -2),
    ],
    ids=repr,
)
def test_value_and_slope(backend, layer, value, slope):
    assert_close(layer(upload(X)), value(X), "float64")
    assert_close(layer.backward(upload(np.full(X.shape, 3.0))), 3 * slope(X), "float64")
