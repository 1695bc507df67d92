"""Flatten keeps the order of the pixels; backward restores the shape."""

import numpy as np
from strategies import assert_close, upload

from xpcnn.layers import Flatten, Identity

X = np.arange(48.0).reshape(2, 3, 4, 2)


def test_flatten(backend):
    layer = Flatten()
    y = layer(upload(X, "Fortran"))
    assert_close(y, X.reshape(2, 24), "float64")
    assert_close(layer.backward(y), X, "float64")
    assert layer.output_shape((3, 4, 2)) == (24,)


def test_flatten_of_flat_and_of_empty_arrays(backend):
    assert Flatten()(upload(X[:, 0, 0])).shape == (2, 2)
    assert Flatten()(upload(X[:, 0, 0, 0])).shape == (2, 1)
    assert Flatten()(upload(X[:0])).shape == (0, 24)


def test_identity(backend):
    layer, x = Identity(), upload(X)
    assert layer(x) is x
    assert layer.backward(x) is x
