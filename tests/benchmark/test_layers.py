"""Layers timed by a clock that ticks once a reading, so that every number is known."""

import itertools
import re

import numpy as np
import pytest

from xpcnn.benchmark.layers import layer_table, places, time_layers
from xpcnn.benchmark.phases import OwnTraining, endless, operations
from xpcnn.layers import Affine, Conv, Flatten, ReLU, Residual, Sequential
from xpcnn.optimizers import SGD

SHAPE = (1, 6, 6)
NAMES = ["0", "1.body", "1.shortcut", "2", "3", "loss"]


@pytest.fixture
def training(backend):
    model = Sequential(Conv(1, 2, 3, rng=0), Residual(ReLU()), Flatten(), Affine(32, 3, rng=0))
    dataset = np.zeros((20, *SHAPE), np.uint8), np.arange(20) % 3
    return OwnTraining(model, SGD(model.parameters()), endless(dataset, 10))


def test_every_layer_but_the_containers_has_a_place_and_the_counts_add_up(training):
    rows = places(training, SHAPE, 10)
    assert [row.name for row in rows] == NAMES
    assert [row.kind for row in rows] == ["Conv", "ReLU", "Identity", "Flatten", "Affine", ""]
    assert [row.shape for row in rows[:5]] == [(2, 4, 4), (2, 4, 4), (2, 4, 4), (32,), (3,)]
    counted = operations(training.model, SHAPE, 10)
    assert sum(row.forward for row in rows) == counted["forward"]
    assert sum(row.backward for row in rows) == counted["backward"]


def test_times_are_the_clock_s_and_the_rest_is_what_no_layer_took(training):
    rows, ticks = places(training, SHAPE, 10), itertools.count()
    seconds = time_layers(training, rows, 3, clock=lambda: next(ticks))
    assert seconds.shape == (3, 7, 2)
    assert (seconds[:, :5] == 1).all()  # a tick between enter and leave of each
    assert (seconds[:, 5] == 1).all()  # the loss
    assert (seconds[:, 6, 0] == 1).all()  # the update
    # readings: 1 at first, 10 in forward, 1 after it, 2 of the loss, 10 in backward, 1 after it, 1 after the update
    assert (seconds.sum(axis=(1, 2)) == 25).all()
    assert "forward" not in vars(training.model[0])  # the hooks are gone


def test_it_trains(training):
    before = training.optimizer.data.copy()
    time_layers(training, places(training, SHAPE, 10), 1)
    assert (training.optimizer.data != before).any()


def test_the_table_has_a_row_for_everything_and_fits_the_terminal(training):
    rows = places(training, SHAPE, 10)
    rows[0] = rows[0]._replace(name="a_very.long_name." * 6, kind="GlobalAveragePooling")
    seconds = np.full((4, 7, 2), 1e-6)
    lines = layer_table(rows, seconds).splitlines()
    assert max(map(len, lines)) <= 100
    assert [line.split()[0] for line in lines[3:]] == [*NAMES[1:], "update", "the", "step"]
    assert lines[2].startswith("..")
    assert "GlobalAver.." in lines[2]
    assert lines[-1].split() == ["step", "0.01", "0%", "100.0%", f"{2 * 10 * (2 * 288 + 3 * 96) / 14e3:.1f}"]
    shares = [
        float(cell[:-1]) for line in lines[2:-1] for cell in line.split() if re.fullmatch(r"\d+\.\d%", cell)
    ]
    assert sum(shares) == pytest.approx(100, abs=1)
