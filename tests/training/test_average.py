"""The moving average of weights, against the formula in float64."""

import numpy as np
import pytest

from xpcnn.backend import to_host
from xpcnn.errors import HyperparameterError
from xpcnn.layers import Affine
from xpcnn.optimizers import SGD
from xpcnn.training import MovingAverage


def test_it_is_the_formula_and_leaves_the_weights_alone(backend):
    model = Affine(3, 2, rng=0)
    optimizer = SGD(model.parameters(), 0.1)
    average, expected = MovingAverage(optimizer, 0.5), to_host(optimizer.data).astype(np.float64)
    for _ in range(6):
        for parameter in model.parameters():
            parameter.add_gradient(parameter.data)
        optimizer.step()
        average.update()
        decay = min(0.5, (1 + optimizer.steps) / (10 + optimizer.steps))
        expected = decay * expected + (1 - decay) * to_host(optimizer.data)
    np.testing.assert_allclose(to_host(average.values), expected, rtol=1e-5)
    own = to_host(optimizer.data).copy()
    with average.in_place():
        assert np.array_equal(
            to_host(model.weight.data).ravel(), to_host(average.values)[: model.weight.data.size]
        )
    assert np.array_equal(to_host(optimizer.data), own)


def test_a_decay_beyond_one_is_refused():
    with pytest.raises(HyperparameterError, match="decay"):
        MovingAverage(SGD(Affine(3, 2, rng=0).parameters(), 0.1), 1.5)
