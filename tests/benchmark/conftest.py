"""A benchmark without processes: see fake_workers."""

import pytest
from fake_workers import Stage

from xpcnn.benchmark import against, overview, sweep


@pytest.fixture
def stage(monkeypatch):
    stage = Stage()
    for module in (against, overview, sweep):
        monkeypatch.setattr(module, "Worker", stage.worker)
    monkeypatch.setattr("xpcnn.benchmark.contest.PAUSE", 0)
    return stage
