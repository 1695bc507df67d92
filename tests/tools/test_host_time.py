"""tools/host_time.py: a step whose kernels do nothing, its Python calls within a budget, and times of two checkouts."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from xpcnn import ops
from xpcnn.backend import active_backend, use_backend

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tools" / "host_time.py"

CALLS = {"simple": 240, "lenet5": 350, "deep": 555, "resnet20": 2360}
"""Python calls of a training step beside its kernels. Lower them when a change lets you."""


@pytest.fixture
def host_time():
    spec = importlib.util.spec_from_file_location("host_time", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with use_backend("numpy"):
        yield module


@pytest.mark.parametrize("name", CALLS)
def test_a_step_is_within_its_budget_of_python_calls(host_time, name):
    with host_time.idle_step(name) as step:
        assert 0 < host_time.calls(step) <= CALLS[name]


def test_in_the_block_kernels_do_nothing_and_after_it_they_are_back(host_time, monkeypatch):
    kernels = active_backend().kernels
    before = dict(kernels)
    with host_time.idle_step("simple") as step:
        assert not set(before.items()) & set(kernels.items())
        monkeypatch.setattr(np, "matmul", None)  # nothing is computed
        step()
    assert kernels == before
    assert ops.relu.__name__ == "relu"


def test_both_checkouts_are_timed_with_spread(host_time, capfd):
    host_time.main(["simple", "--beside", str(ROOT), "--rounds", "3", "--steps", "1"])
    of_one = r"\d+ \(\d+ to \d+\)"
    assert re.search(rf"simple +{of_one} +{of_one} +ratio \d\.\d\d \(", capfd.readouterr().out)


def test_an_unknown_network_is_refused(host_time, capfd):
    with pytest.raises(SystemExit):
        host_time.main(["resnet2000"])
    assert "unknown: resnet2000; pass some of: simple, lenet5" in capfd.readouterr().err
