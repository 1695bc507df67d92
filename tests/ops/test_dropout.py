"""Dropout masks: known bits, identical on every backend."""

import numpy as np
import pytest
from strategies import upload

from xpcnn import ops
from xpcnn.backend import to_host

KEY = 0x2545F4914F6CDD1D
PINNED = ["...#.#.#", "###.#.#.", "...##.#.", "#..#..##"]  # from plain integers: tests/test_random.py


def mask(shape, p, counter=0, key=KEY):
    return to_host(ops.keep_mask(shape, p, upload(np.array([counter], np.uint64)), key))


def test_known_bits(backend):
    kept = mask((4, 8), 0.5)
    assert kept.dtype == bool
    assert ["".join("#" if bit else "." for bit in row) for row in kept] == PINNED


def test_the_stream_continues_at_the_counter(backend):
    whole = mask((60,), 0.3)
    assert np.array_equal(whole, np.concatenate([mask((25,), 0.3), mask((7, 5), 0.3, counter=25).ravel()]))
    assert not np.array_equal(whole, mask((60,), 0.3, counter=60))
    assert not np.array_equal(whole, mask((60,), 0.3, key=KEY + 2))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_rate_is_p(backend, p):
    n = 20000
    dropped = n - mask((n,), p).sum()
    assert abs(dropped - n * p) < 4 * np.sqrt(n * p * (1 - p))


def test_the_ends(backend):
    assert mask((1000,), 0).all()
    assert not mask((1000,), 1 - 1e-12).any()
    assert mask((0, 3), 0.5).shape == (0, 3)


def test_elements_kept_at_p_are_kept_at_a_smaller_p(backend):
    assert not (mask((500,), 0.6) & ~mask((500,), 0.3)).any()


def test_the_counter_is_not_written_to(backend):
    counter = upload(np.array([5], np.uint64))
    ops.keep_mask((3,), 0.5, counter, KEY)
    assert int(to_host(counter)[0]) == 5
