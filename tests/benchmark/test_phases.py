"""Times from a clock that we set, operations counted by hand."""

import itertools

import numpy as np
import pytest

from xpcnn import benchmark, models
from xpcnn.benchmark.phases import OwnTraining, endless
from xpcnn.errors import DatasetError
from xpcnn.layers import Affine, Conv, Flatten, Sequential
from xpcnn.optimizers import SGD

IMAGES, LABELS = np.zeros((25, 1, 6, 6), np.uint8), np.arange(25) % 3


@pytest.fixture
def model(backend):
    return Sequential(Conv(1, 2, 3, rng=0), Flatten(), Affine(32, 3, rng=0))


def training(model, batch_size=10):
    return OwnTraining(model, SGD(model.parameters()), endless((IMAGES, LABELS), batch_size))


def ticking(*phases):
    """A clock by which the phases of every step take so many seconds."""
    now = 0.0
    while True:
        yield now
        for seconds in phases:
            now += seconds
            yield now


def test_phases_are_what_the_clock_says_and_add_up_to_the_step(model):
    clock = ticking(1, 2, 3, 4)
    seconds = training(model).steps(5, clock=lambda: next(clock))
    assert seconds.tolist() == [[1, 2, 3, 4]] * 5
    table = benchmark.timings(seconds, dict.fromkeys(benchmark.PHASES, 0))
    assert [row.median_ms for row in table.values()] == pytest.approx([1e3, 2e3, 3e3, 4e3, 1e4])
    assert [row.share for row in table.values()] == pytest.approx([0.1, 0.2, 0.3, 0.4, 1])


def test_steps_train_for_more_than_an_epoch(model):
    trained = training(model)
    assert trained.steps(7).shape == (7, 4)
    assert trained.optimizer.steps == 7


def test_a_batch_larger_than_the_data_set_is_refused(model):
    with pytest.raises(DatasetError, match="at least one batch of 26, got 25 images"):
        training(model, 26)


def test_operations_of_the_book_s_network_by_hand():
    conv, affine = 24 * 24 * 30 * 25, 12 * 12 * 30 * 100 + 100 * 10
    assert benchmark.operations(models.simple(), (1, 28, 28), 1) == {
        "data": 0, "forward": 2 * (conv + affine), "backward": 2 * (conv + 2 * affine), "update": 0,
    }  # fmt: skip


def test_batches_never_end_are_whole_and_come_again_in_another_order():
    feed = endless((IMAGES, np.arange(25)), 10)
    seen = [labels.tolist() for _, labels in itertools.islice(feed, 4)]
    assert all(len(labels) == 10 for labels in seen)
    first, second = seen[0] + seen[1], seen[2] + seen[3]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


class Notes(benchmark.Training):
    """Notes the order of what happens."""

    def __init__(self):
        self.order = []

    def run(self, mark):
        for phase in benchmark.PHASES:
            self.order.append(phase)
            mark(phase)

    def synchronize(self):
        pass

    def watch_memory(self):
        self.order.append("memory is watched")
        return lambda: self.order.append("memory is read") or "the memory"


def test_the_first_step_has_its_batch_before_memory_is_read():
    training = Notes()
    assert training.first_step() == "the memory"
    assert training.order == [
        "data", "memory is watched", "forward", "backward", "update", "memory is read",
    ]  # fmt: skip
