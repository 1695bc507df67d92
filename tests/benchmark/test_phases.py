"""Times from a clock that we set, operations counted by hand."""

import itertools

import numpy as np
import pytest

from xpcnn import benchmark, models
from xpcnn.errors import DatasetError
from xpcnn.layers import Affine, Conv, Flatten, Sequential
from xpcnn.optimizers import SGD

IMAGES, LABELS = np.zeros((25, 1, 6, 6), np.uint8), np.arange(25) % 3


@pytest.fixture
def model(backend):
    return Sequential(Conv(1, 2, 3, rng=0), Flatten(), Affine(32, 3, rng=0))


def ticking(*phases):
    """A clock by which the phases of every step take so many seconds, and warm-up takes no other time."""
    now = 0.0
    while True:
        yield now
        for seconds in phases:
            now += seconds
            yield now


def test_phases_are_what_the_clock_says_and_add_up_to_the_step(model):
    clock = ticking(1, 2, 3, 4)
    seconds = benchmark.time_steps(
        model, SGD(model.parameters()), (IMAGES, LABELS), batch_size=10, steps=5, clock=lambda: next(clock)
    )
    assert seconds.tolist() == [[1, 2, 3, 4]] * 5
    table = benchmark.timings(seconds, dict.fromkeys(benchmark.PHASES, 0))
    assert [row.median_ms for row in table.values()] == pytest.approx([1e3, 2e3, 3e3, 4e3, 1e4])
    assert [row.share for row in table.values()] == pytest.approx([0.1, 0.2, 0.3, 0.4, 1])


def test_warm_up_trains_and_is_not_timed(model):
    optimizer = SGD(model.parameters())
    seconds = benchmark.time_steps(model, optimizer, (IMAGES, LABELS), batch_size=10, steps=3, warm_up=4)
    assert seconds.shape == (3, 4)
    assert optimizer.steps == 7  # more than an epoch


def test_a_batch_larger_than_the_data_set_is_refused(model):
    with pytest.raises(DatasetError, match="at least one batch of 26, got 25 images"):
        benchmark.time_steps(model, SGD(model.parameters()), (IMAGES, LABELS), batch_size=26, steps=1)


def test_operations_of_the_book_s_network_by_hand():
    conv, affine = 24 * 24 * 30 * 25, 12 * 12 * 30 * 100 + 100 * 10
    assert benchmark.operations(models.simple(), (1, 28, 28), 1) == {
        "data": 0, "forward": 2 * (conv + affine), "backward": 2 * (conv + 2 * affine), "update": 0,
    }  # fmt: skip


def test_batches_never_end_are_whole_and_come_again_in_another_order():
    feed = benchmark.phases.endless((IMAGES, np.arange(25)), 10)
    seen = [labels.tolist() for _, labels in itertools.islice(feed, 4)]
    assert all(len(labels) == 10 for labels in seen)
    first, second = seen[0] + seen[1], seen[2] + seen[3]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


class Notes(benchmark.Training):
    """Notes which phase it is in."""

    def __init__(self):
        self.order = []
        for phase in benchmark.PHASES:
            setattr(self, phase, lambda phase=phase: self.order.append(phase))

    data = forward = backward = update = synchronize = lambda self: None

    def memory_of(self, step):
        self.order.append("memory is read")
        step()
        return "told"


def test_the_first_step_has_its_batch_before_memory_is_read():
    training = Notes()
    assert training.first_step() == "told"
    assert training.order == ["data", "memory is read", "forward", "backward", "update"]
