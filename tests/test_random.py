"""Squares against the paper's definition in plain integers, and what a stream of bits must be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import unchanged, upload

from xpcnn import random
from xpcnn.backend import to_host

KEY = 0x2545F4914F6CDD1D
KNOWN = [315590304, 922181485, 1861104431, 3704916282, 4284584480]
MASK = 2**64 - 1
words = st.integers(0, MASK)


def squares(counter, key):
    """Widynski, arXiv:2004.06278, section 4: four rounds of squaring, in integers without end."""
    swap = lambda word: word >> 32 | word << 32 & MASK  # noqa: E731
    x = y = counter * key & MASK
    z = y + key & MASK
    x = swap(x * x + y & MASK)
    x = swap(x * x + z & MASK)
    x = swap(x * x + y & MASK)
    return (x * x + z & MASK) >> 32


def bits(counters, key=KEY):
    return to_host(random.counter_bits(upload(np.array(counters, np.uint64)), key))


@given(st.lists(words, min_size=1, max_size=20), words)
def test_bits_are_the_papers(backend, counters, key):
    drawn = bits(counters, key)
    assert drawn.dtype == np.uint32
    assert drawn.tolist() == [squares(counter, key) for counter in counters]


def test_known_bits(backend):
    assert bits([0, 1, 2, 2**32, 2**64 - 1]).tolist() == KNOWN


def test_any_shape_of_counters_gives_the_same_bits(backend):
    counters = np.arange(60, dtype=np.uint64)
    whole = bits(counters)
    assert np.array_equal(bits(counters.reshape(3, 4, 5)), whole.reshape(3, 4, 5))
    assert np.array_equal(np.concatenate([bits(counters[:7]), bits(counters[7:])]), whole)
    assert bits([]).shape == (0,)


def test_the_counter_is_not_written_to(backend):
    counter = upload(np.arange(5, dtype=np.uint64))
    with unchanged(counter):
        random.counter_bits(counter, KEY)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_bit_is_fair_and_knows_nothing_of_its_neighbours(seed):
    n = 20000
    table = (bits(np.arange(n), random.draw_key(seed))[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    assert np.abs(table.mean(axis=0) - 0.5).max() < 4.5 / np.sqrt(4 * n)
    signs = 2.0 * table - 1
    between_bits = signs.T @ signs / n - np.eye(32)
    between_counters = signs[1:].T @ signs[:-1] / n
    assert max(np.abs(between_bits).max(), np.abs(between_counters).max()) < 5 / np.sqrt(n)


def test_values_spread_evenly():
    n = 64000
    counts = np.bincount(bits(np.arange(n), random.draw_key(7)) >> 26, minlength=64)
    chi_squared = ((counts - n / 64) ** 2 / (n / 64)).sum()
    assert 25 < chi_squared < 115  # 63 degrees of freedom: beyond once in 10^5 on either side


def test_streams_of_two_keys_differ():
    one, other = bits(np.arange(1000), random.draw_key(0)), bits(np.arange(1000), random.draw_key(1))
    assert (one == other).sum() < 3


def test_keys():
    keys = [random.draw_key(seed) for seed in range(200)]
    assert len(set(keys)) == len(keys)
    assert all(0 < key < 2**64 and key & 1 for key in keys)
    assert all(24 <= key.bit_count() <= 40 for key in keys)  # neither half is a run of zeros
    assert random.draw_key(3) == random.draw_key(np.random.default_rng(3)) == keys[3]


def test_default_rng_takes_a_seed_a_generator_or_nothing(monkeypatch):
    monkeypatch.setattr(random, "_generator", random._generator)
    rng = np.random.default_rng(5)
    assert random.default_rng(rng) is rng
    assert random.default_rng(5).random() == rng.random()
    assert random.default_rng() is random.default_rng(None)


def test_seed_restarts_what_has_no_rng_of_its_own(monkeypatch):
    monkeypatch.setattr(random, "_generator", random._generator)
    draws = []
    for number in (1, 1, 2):
        random.seed(number)
        draws.append((random.default_rng().random(), random.draw_key()))
    assert draws[0] == draws[1] != draws[2]
