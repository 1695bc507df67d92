"""Initializers: the moments their papers ask for, and the same weights for the same seed."""

import math

import numpy as np
import pytest

from xpcnn import initializers
from xpcnn.initializers import fans

SHAPES = [(200, 150), (40, 30, 5, 4)]
FAN_IN, FAN_OUT = {(200, 150): 150, (40, 30, 5, 4): 600}, {(200, 150): 200, (40, 30, 5, 4): 800}
VARIANCES = {
    "normal": lambda shape: 1e-4,
    "uniform": lambda shape: 1e-4 / 3,
    "he_normal": lambda shape: 2 / FAN_IN[shape],
    "he_uniform": lambda shape: 2 / FAN_IN[shape],
    "xavier_normal": lambda shape: 2 / (FAN_IN[shape] + FAN_OUT[shape]),
    "xavier_uniform": lambda shape: 2 / (FAN_IN[shape] + FAN_OUT[shape]),
    "lecun_uniform": lambda shape: 1 / FAN_IN[shape],
}
names, shapes = pytest.mark.parametrize("name", VARIANCES), pytest.mark.parametrize("shape", SHAPES)


def test_every_initializer_is_listed_here():
    found = {
        name
        for name, value in vars(initializers).items()
        if callable(value) and getattr(value, "__module__", "") == initializers.__name__ and name[0] != "_"
    }
    assert found - {"fans", "zeros"} == set(VARIANCES)


@shapes
@names
def test_mean_and_variance(name, shape):
    weight, variance = getattr(initializers, name)(shape, 0), VARIANCES[name](shape)
    n = math.prod(shape)
    assert weight.shape == shape
    assert weight.dtype == np.float32
    assert abs(weight.mean()) < 4 * math.sqrt(variance / n)
    # The sample variance of N(0, v) has a standard deviation of v sqrt(2 / n), a uniform one less.
    assert abs(weight.var() / variance - 1) < 4 * math.sqrt(2 / n)
    if "uniform" in name:
        bound = math.sqrt(3 * variance)
        assert 0.999 * bound < np.abs(weight).max() <= bound * 1.000001
    else:
        assert np.abs(weight).max() > 3.5 * math.sqrt(variance)  # a normal distribution has tails


@names
def test_the_same_seed_gives_the_same_weights(name):
    draw = getattr(initializers, name)
    assert np.array_equal(draw((3, 4), 1), draw((3, 4), 1))
    assert not np.array_equal(draw((3, 4), 1), draw((3, 4), 2))
    rng = np.random.default_rng(1)
    assert np.array_equal(draw((3, 4), rng), draw((3, 4), 1))
    assert not np.array_equal(draw((3, 4), rng), draw((3, 4), 1))  # the Generator went on


def test_fans():
    assert fans((10, 20)) == (20, 10)
    assert fans((64, 3, 5, 4)) == (60, 1280)


def test_zeros():
    weight = initializers.zeros((3, 4), 0)
    assert (weight.shape, weight.dtype, weight.any()) == ((3, 4), np.float32, False)


def test_std_and_bound_are_what_was_asked_for():
    assert initializers.normal((100, 100), 0, std=2).std() == pytest.approx(2, rel=0.05)
    assert np.abs(initializers.uniform((100, 100), 0, bound=2)).max() == pytest.approx(2, rel=0.01)
