"""Softmax as a layer: rows of probabilities."""

import numpy as np
from strategies import assert_close, normal, upload

from xpcnn.backend import to_host
from xpcnn.layers import Softmax


def test_probabilities(backend):
    y = to_host(Softmax()(upload(normal(0, (4, 5)))))
    np.testing.assert_allclose(y.sum(axis=1), 1)
    assert (y > 0).all()
    assert_close(Softmax()(upload(np.array([[0.0, np.log(3)]]))), [[0.25, 0.75]], "float64")


def test_a_shift_changes_nothing(backend):
    x = normal(0, (4, 5))
    assert_close(Softmax()(upload(x + 1000)), to_host(Softmax()(upload(x))), "float64", rtol=1e-9)


def test_axis_may_be_that_of_the_channels(backend):
    x = normal(0, (2, 3, 4, 4))
    y = to_host(Softmax(axis=1)(upload(x)))
    np.testing.assert_allclose(y.sum(axis=1), np.ones((2, 4, 4)))
