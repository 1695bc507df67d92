"""Operations a second by a clock that we set."""

import pytest

from xpcnn.benchmark import peak
from xpcnn.benchmark.peak import product_peak


def clock_of(durations):
    now = 0.0
    for seconds in durations:
        yield now
        now += seconds
        yield now


def test_the_best_product_counts(backend, monkeypatch):
    monkeypatch.setenv("XPCNN_THREADS", "1")
    monkeypatch.setattr(peak, "SMALLEST", 64)
    times = [0.4, 0.2, 0.1, 0.3, 0.2]  # long: no larger one follows
    clock = clock_of(times)
    assert product_peak(lambda: next(clock)) == pytest.approx(2 * 64**3 / 0.1 / 1e9)
    assert next(clock, None) is None


def test_short_products_grow_up_to_the_largest(monkeypatch):
    monkeypatch.setenv("XPCNN_THREADS", "2")  # two products at a time
    monkeypatch.setattr(peak, "SMALLEST", 32)
    clock = clock_of([0.001] * 10)
    assert product_peak(lambda: next(clock), largest=64) == pytest.approx(2 * 2 * 64**3 / 0.001 / 1e9)
    assert next(clock, None) is None
