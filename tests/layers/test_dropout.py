"""Dropout alone: the rate, and masks that depend on the seed alone, on every backend."""

import numpy as np
import pytest
from strategies import upload

from xpcnn.backend import to_host
from xpcnn.errors import HyperparameterError
from xpcnn.layers import Dropout, Sequential

ONES = np.ones((100, 200), np.float32)
KNOWN = ["#...###...", "#..#.#..#.", "...###..##"]  # from plain integers: tests/test_random.py


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_the_rate_and_the_mean(backend, p):
    y = to_host(Dropout(p, rng=0)(upload(ONES)))
    n = ONES.size
    assert abs((y == 0).sum() - n * p) < 4 * np.sqrt(n * p * (1 - p))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / (1 - p))}
    assert abs(y.mean() - 1) < 4 * np.sqrt(p / (1 - p) / n)


def test_known_bits(backend):
    """The mask of seed 0, whatever the backend: other bits would change every training with dropout."""
    y = to_host(Dropout(0.5, rng=0)(upload(np.ones((3, 10), np.float32))))
    assert ["".join("#" if value else "." for value in row) for row in y] == KNOWN


def test_a_seed_fixes_the_masks_and_each_call_has_its_own(backend):
    one, same, other = (Dropout(0.5, rng=seed) for seed in (0, 0, 1))
    x = upload(ONES)
    first, second = to_host(one(x)), to_host(one(x))
    assert np.array_equal(to_host(same(x)), first)
    assert np.array_equal(to_host(same(x)), second)
    assert not np.array_equal(first, second)
    assert abs((first == second).mean() - 0.5) < 0.02
    assert abs((to_host(other(x)) == first).mean() - 0.5) < 0.02


def test_two_layers_of_one_generator_have_masks_of_their_own(backend):
    rng = np.random.default_rng(0)
    one, other = Dropout(rng=rng), Dropout(rng=rng)
    assert one.key != other.key
    assert abs((to_host(one(upload(ONES))) == to_host(other(upload(ONES)))).mean() - 0.5) < 0.02


def test_batches_of_any_size_draw_from_one_stream(backend):
    whole, parts = Dropout(0.3, rng=0), Dropout(0.3, rng=0)
    in_parts = [to_host(parts(upload(part))) for part in (ONES[:30], ONES[30:])]
    assert np.array_equal(np.concatenate(in_parts), to_host(whole(upload(ONES))))


def test_backward_drops_what_forward_dropped(backend):
    layer = Dropout(0.4, rng=0)
    y = to_host(layer(upload(ONES)))
    assert np.array_equal(to_host(layer.backward(upload(ONES))), y)


def test_evaluation_changes_nothing_and_draws_nothing(backend):
    layer, undisturbed = Dropout(0.5, rng=0), Dropout(0.5, rng=0)
    layer(upload(ONES))
    undisturbed(upload(ONES))
    Sequential(layer).eval()
    assert np.array_equal(to_host(layer(upload(ONES))), ONES)
    assert np.array_equal(to_host(layer.backward(upload(ONES))), ONES)
    layer.train()
    assert np.array_equal(to_host(layer(upload(ONES))), to_host(undisturbed(upload(ONES))))


def test_p_of_zero_keeps_all_elements(backend):
    layer = Dropout(0)
    assert np.array_equal(to_host(layer(upload(ONES))), ONES)
    assert np.array_equal(to_host(layer.backward(upload(ONES))), ONES)


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, float("nan")])
def test_p_out_of_range(p):
    with pytest.raises(
        HyperparameterError, match=r"Dropout: p must be at least 0 and below 1, got .*; p is the share"
    ):
        Dropout(p)


def test_the_counter_is_left_out_of_weights_files():
    assert [(name, buffer.persistent) for name, buffer in Dropout().named_buffers()] == [("counter", False)]
