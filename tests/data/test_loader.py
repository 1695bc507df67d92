"""Batches prepared by a thread: the bits, the generator's state and the errors of those prepared in turn."""

import threading

import numpy as np
import pytest

from xpcnn import models
from xpcnn.checkpoint import load_checkpoint, save_checkpoint
from xpcnn.data import BatchLoader, Compose, Crop, Flip, batches
from xpcnn.errors import DtypeError, ShapeError
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import Adam
from xpcnn.training import Position, train

IMAGES = np.random.default_rng(0).random((23, 1, 8, 8), np.float32)
LABELS = np.arange(23) % 3
KINDS = [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64]


def feed(rng, transform=None):
    return batches(IMAGES, LABELS, 5, rng, transform or Compose(Crop(2), Flip()))


@pytest.mark.parametrize("ahead", [1, 2, 50])
@pytest.mark.parametrize("kind", KINDS)
def test_same_batches_and_the_same_state_after_each(kind, ahead):
    ours, theirs = (np.random.Generator(kind(4)) for _ in range(2))
    for _ in range(2):
        loader, plain = BatchLoader(feed(ours), ahead), feed(theirs)
        assert len(loader) == len(plain)
        for (x, y), (wanted, labels) in zip(loader, plain, strict=True):
            np.testing.assert_array_equal(x, wanted)
            np.testing.assert_array_equal(y, labels)
            assert (
                ours.bit_generator.random_raw() == theirs.bit_generator.random_raw()
            )  # draws in between, too


def test_states_agree_where_nobody_draws_in_between():
    ours, theirs = np.random.default_rng(1), np.random.default_rng(1)
    for _ in zip(BatchLoader(feed(ours)), feed(theirs), strict=True):
        assert ours.bit_generator.state == theirs.bit_generator.state


def test_batches_are_prepared_by_another_thread_before_they_are_asked_for():
    seen, prepared = [], threading.Semaphore(0)

    def transform(x, rng):
        seen.append(threading.current_thread())
        prepared.release()
        return x

    iterator = iter(BatchLoader(feed(None, transform), ahead=2))
    next(iterator)
    for _ in range(3):
        assert prepared.acquire(timeout=60)  # the one in use, and two ahead
    assert threading.main_thread() not in seen
    iterator.close()
    assert len(seen) == 3
    assert not any(thread.is_alive() for thread in seen)


def test_an_error_comes_at_its_batch():
    def third(x, rng):
        if x[0, 0, 0, 0] == IMAGES[10, 0, 0, 0]:
            raise RuntimeError("no such image")
        return x

    taken = []
    with pytest.raises(RuntimeError, match="no such image"):
        taken.extend(y for _, y in BatchLoader(feed(None, third)))
    loader = iter(BatchLoader(feed(None, third)))
    assert [next(loader)[1].tolist() for _ in range(2)] == [LABELS[:5].tolist(), LABELS[5:10].tolist()]
    with pytest.raises(RuntimeError, match="no such image"):
        next(loader)


def test_no_thread_is_left():
    before = threading.active_count()
    for _ in BatchLoader(feed(np.random.default_rng(0))):
        break
    list(BatchLoader(feed(None, lambda x, rng: x)))
    assert threading.active_count() == before


def test_training_has_the_same_bits_and_a_checkpoint_within_an_epoch_goes_on_in_them(tmp_path):
    def training(wrap, stop=None):
        model = models.simple(3, 0, input_shape=(1, 8, 8), width=0.1)
        optimizer, position = Adam(model.parameters(), 0.01), Position(7)
        steps = 0

        def progress(made):
            nonlocal steps
            for batch in wrap(made):
                yield batch
                steps += 1
                if steps == stop:
                    save_checkpoint(tmp_path / "c.safetensors", model, optimizer, position)

        list(run(model, optimizer, position, progress))
        return model

    def run(model, optimizer, position, progress):
        return train(
            model, SoftmaxCrossEntropy(), optimizer, (IMAGES, LABELS), epochs=3, batch_size=5, position=position,
            transform=Compose(Crop(2), Flip()), progress=progress,
        )  # fmt: skip

    def weights(model):
        return [parameter.data.tolist() for parameter in model.parameters()]

    wanted = weights(training(iter))
    assert weights(training(BatchLoader, stop=7)) == wanted
    model = models.simple(3, 1, input_shape=(1, 8, 8), width=0.1)
    optimizer = Adam(model.parameters(), 0.01)
    position = load_checkpoint(tmp_path / "c.safetensors", model, optimizer)
    list(run(model, optimizer, position, BatchLoader))
    assert weights(model) == wanted


def test_what_it_does_not_take_is_refused():
    with pytest.raises(DtypeError, match=r"BatchLoader: expected batches, got .*pass batches\("):
        BatchLoader((IMAGES, LABELS))
    with pytest.raises(ShapeError, match="ahead must be at least 1"):
        BatchLoader(feed(None), 0)
