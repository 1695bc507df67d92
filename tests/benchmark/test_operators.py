"""Ops timed by a clock that ticks once a reading."""

import itertools

import numpy as np
import pytest

from xpcnn import ops
from xpcnn.backend import active_backend, use_backend
from xpcnn.benchmark.operators import time_operators, timed_operators
from xpcnn.benchmark.phases import OwnTraining, endless
from xpcnn.geometry import Window
from xpcnn.layers import Affine, Conv, Flatten, ReLU, Sequential
from xpcnn.optimizers import SGD


@pytest.fixture(params=["tuned", "reference"])
def training(request):
    with use_backend("numpy", kernels=request.param):
        model = Sequential(Conv(1, 2, 3, rng=0), ReLU(), Flatten(), Affine(32, 3, rng=0), ReLU())
        dataset = np.zeros((20, 1, 6, 6), np.uint8), np.arange(20) % 3
        yield OwnTraining(model, SGD(model.parameters()), endless(dataset, 10))


def test_every_op_of_a_step_is_counted_with_the_textbook_too(training):
    ticks = itertools.count()
    calls, seconds = time_operators(training, 3, clock=lambda: next(ticks))
    assert calls == {
        "conv": 1, "relu": 2, "flatten": 1, "affine": 1, "softmax_cross_entropy": 1,
        "softmax_cross_entropy_backward": 1, "relu_backward": 2, "affine_backward": 1, "conv_backward": 1,
        "sgd_update": 1,
    }  # fmt: skip
    assert seconds == calls  # a tick a call


def test_an_op_within_an_op_is_part_of_it():
    x, weight = np.ones((2, 1, 5, 5), np.float32), np.ones((3, 1, 2, 2), np.float32)
    with use_backend("numpy", kernels="reference"), timed_operators() as ledger:
        ops.conv(x, weight, None, Window(2))
        assert list(ledger) == ["conv"]  # and not im2col
        ops.im2col(x, Window(2))
    assert {name: count for name, (count, _) in ledger.items()} == {"conv": 1, "im2col": 1}


def test_the_kernels_are_as_before_after_an_error_too():
    before = dict(active_backend().kernels)
    with pytest.raises(AttributeError), timed_operators():
        ops.conv(None, None, None, Window(2))
    assert active_backend().kernels == before
