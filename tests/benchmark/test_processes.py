"""Real processes, asked for little."""

import os
from dataclasses import asdict

import pytest

from xpcnn.benchmark.processes import Worker
from xpcnn.benchmark.workload import Workload
from xpcnn.errors import BenchmarkError, ShapeError

WORK = Workload("lenet5", 2, "sgd", image=(1, 28, 28))


def test_a_worker_answers_stays_alive_after_an_error_and_ends(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise SystemExit('somebody else's')")  # is not imported
    with Worker("one", {"XPCNN_KERNELS": "reference", "XPCNN_BACKEND": "numpy"}) as worker:
        with pytest.raises(ShapeError, match="alexnet does not fit"):
            worker.ask("open", workload={**asdict(WORK), "model": "alexnet"})
        assert worker.ask("machine")["kernels"] == "reference"
    assert worker.process.returncode is not None


def test_environments_differ_and_threads_are_blas_s_too(monkeypatch):
    monkeypatch.setenv("XPCNN_THREADS", "2")
    with Worker("one", {"XPCNN_THREADS": "1", "XPCNN_KERNELS": "reference"}) as worker:
        blas = worker.ask("machine")["blas"]
    assert "1 thread," in blas or "threadpoolctl does not know" in blas
    assert os.environ["XPCNN_THREADS"] == "2"  # as it was


def test_one_that_dies_is_told_by_name():
    with Worker("the network") as worker:
        worker.process.kill()
        with pytest.raises(
            BenchmarkError, match="the process that measures the network ended with exit status"
        ):
            worker.ask("machine")
