"""What a time depends on; and operations a second by a clock that we set."""

import os
import sys

import numpy as np
import pytest

from xpcnn import benchmark
from xpcnn.benchmark.machine import cores, product_peak, threads

MODULE = sys.modules["xpcnn.benchmark.machine"]  # the package has a function of this name


def test_the_machine_names_what_a_time_depends_on(backend):
    machine = benchmark.machine()
    assert machine["backend"] == backend.name
    assert machine["numpy"] == np.__version__
    assert all(machine.values())


def test_threads_are_those_asked_for_or_all_cores(monkeypatch):
    monkeypatch.setenv("XPCNN_THREADS", "3")
    assert threads() == 3
    monkeypatch.delenv("XPCNN_THREADS")
    assert threads() == cores() <= os.cpu_count()


def clock_of(durations):
    now = 0.0
    for seconds in durations:
        yield now
        now += seconds
        yield now


def test_the_best_product_counts(backend, monkeypatch):
    monkeypatch.setenv("XPCNN_THREADS", "1")
    monkeypatch.setattr(MODULE, "SMALLEST", 64)
    times = [0.4, 0.2, 0.1, 0.3, 0.2]  # long: no larger one follows
    clock = clock_of(times)
    assert product_peak(lambda: next(clock)) == pytest.approx(2 * 64**3 / 0.1 / 1e9)
    assert next(clock, None) is None


def test_short_products_grow_up_to_the_largest(monkeypatch):
    monkeypatch.setenv("XPCNN_THREADS", "2")  # two products at a time
    monkeypatch.setattr(MODULE, "SMALLEST", 32)
    clock = clock_of([0.001] * 10)
    assert product_peak(lambda: next(clock), largest=64) == pytest.approx(2 * 2 * 64**3 / 0.001 / 1e9)
    assert next(clock, None) is None
