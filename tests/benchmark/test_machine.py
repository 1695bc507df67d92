"""What a time depends on is named."""

import os

import numpy as np

from xpcnn import benchmark
from xpcnn.benchmark.machine import cores, threads


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
