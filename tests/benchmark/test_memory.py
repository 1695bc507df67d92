"""Memory of a step, by steps that take a known amount."""

import sys

import numpy as np
import pytest

from xpcnn.backend import use_backend
from xpcnn.benchmark import memory
from xpcnn.benchmark.memory import watch_memory

MB = 10**6


def peak_of(step):
    risen = watch_memory()
    step()
    return risen()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_step_takes_and_frees_again_is_its_peak():
    with use_backend("numpy"):
        found = peak_of(lambda: np.ones(40 * MB, np.uint8).sum())
        nothing = peak_of(lambda: None)
    if not found.how.startswith("VmHWM"):
        pytest.skip("this system lets nobody set the mark back")
    assert 39 * MB < found.bytes < 60 * MB
    assert nothing.bytes < 2 * MB  # though the process was larger before


@pytest.mark.skipif(sys.platform == "win32", reason="has no resource module")
def test_elsewhere_the_largest_so_far_is_read_before_and_after(monkeypatch):
    resource = pytest.importorskip("resource")
    sizes = iter([100, 130])
    monkeypatch.setattr(memory, "_start_on_linux", lambda: None)
    monkeypatch.setattr(resource, "getrusage", lambda who: type("Usage", (), {"ru_maxrss": next(sizes)}))
    unit = 1 if sys.platform == "darwin" else 1024
    with use_backend("numpy"):
        found = peak_of(lambda: None)
    assert found.bytes == 30 * unit
    assert "getrusage" in found.how


def test_without_any_means_it_is_none(monkeypatch):
    monkeypatch.setattr(memory, "_start_on_linux", lambda: None)
    monkeypatch.setitem(sys.modules, "resource", None)
    done = []
    with use_backend("numpy"):
        found = peak_of(lambda: done.append(1))
    assert (found.bytes, done) == (None, [1])


def test_on_a_device_it_is_the_growth_of_the_pool():
    class Pool:
        held, kept = 500, 100

        def free_all_blocks(self):
            self.held -= self.kept

        def total_bytes(self):
            return self.held

    pool = Pool()
    risen = memory._of_pool(pool)
    pool.held += 70
    assert risen().bytes == 70
