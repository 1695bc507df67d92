"""tools/kernel_gains.py: reference and kernels side by side, from fake workers; ops by a clock that we set."""

import importlib.util
import itertools
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from fake_workers import Stage

from xpcnn import ops
from xpcnn.backend import active_backend, use_backend
from xpcnn.benchmark.contest import Effort
from xpcnn.benchmark.phases import OwnTraining, endless
from xpcnn.benchmark.workload import Workload
from xpcnn.errors import BenchmarkError
from xpcnn.geometry import Window
from xpcnn.layers import Affine, Conv, Flatten, ReLU, Sequential
from xpcnn.optimizers import SGD

EFFORT = Effort(rounds=5, steps=2, warm_up=1)
FILE = Path(__file__).parents[2] / "tools" / "kernel_gains.py"
spec = importlib.util.spec_from_file_location("kernel_gains", FILE)
gains = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gains)


@pytest.fixture
def stage(monkeypatch):
    stage = Stage()
    monkeypatch.setattr(gains, "Worker", stage.worker)
    monkeypatch.setattr("xpcnn.benchmark.contest.PAUSE", 0)
    return stage


@pytest.fixture
def report(stage):
    stage.seconds = lambda name, workload: (
        [0, 0.06, 0, 0] if name.startswith("reference") else [0, 0.02, 0, 0]
    )
    return gains.compare_kernels(Workload(), {"XPCNN_BACKEND": "numpy"}, EFFORT, by_layer=True)


def test_both_run_with_their_kernels_alternating(report, stage):
    begun = {name: env["XPCNN_KERNELS"] for name, what, env in stage.log if what == "begins"}
    assert begun == {"reference kernels": "reference", "tuned kernels": "tuned"}
    timed = [name.split()[0] for name, arguments in stage.asked("steps") if arguments["count"]]
    assert timed == ["reference", "tuned", "tuned", "reference"] * 2 + ["reference", "tuned"]
    first_timed = next(i for i, (_, do, a) in enumerate(stage.log) if do == "steps" and a["count"])
    assert max(i for i, (_, do, _) in enumerate(stage.log) if do == "losses") < first_timed


def test_gains_are_the_reference_s_time_by_the_tuned_one_s(report):
    assert report.result["gain"]["median"] == pytest.approx(3)
    lines = {line.split()[0]: line.split() for line in report.text.splitlines() if line}
    assert lines["conv"][1:5] == ["yes", "8.00", "2.00", "4.00"]
    assert lines["softmax"][1:4] == ["1.00", "1.00", "1.00"]  # no kernel
    assert lines["0"][1:4] == ["Conv", "3.00", "3.00"]
    assert "The kernels make a step 3.00 times as fast." in report.text
    assert max(map(len, report.text.splitlines())) <= 100


def test_other_losses_end_it_before_anything_is_timed(stage):
    stage.losses = lambda name: [2.0, 1.5, 1.2 + name.startswith("tuned")]
    with pytest.raises(BenchmarkError, match="the first losses differ"):
        gains.compare_kernels(Workload(), {}, EFFORT)
    assert not any(arguments["count"] for _, arguments in stage.asked("steps"))
    assert [what for _, what, _ in stage.log[-2:]] == ["ends", "ends"]


def test_a_backend_without_kernels_is_refused(stage, monkeypatch):
    nothing = {"calls": {}, "seconds": {"conv": 0.1}, "kernels": []}
    worker = type(stage.worker("any"))
    monkeypatch.setattr(worker, "operators", lambda self, **_: nothing)
    with pytest.raises(BenchmarkError, match="backend numpy has no kernels of its own"):
        gains.compare_kernels(Workload(), {}, EFFORT)


def test_rows_are_medians_of_each_round():
    answers = [[[1, 2, 3, 4], [1, 4, 3, 4], [9, 3, 3, 4]], [[0, 0, 0, 1]]]
    assert {name: row.tolist() for name, row in gains.by_phase(answers).items()} == {
        "data": [1, 0], "forward": [3, 0], "backward": [3, 0], "update": [4, 1], "step": [12, 1],
    }  # fmt: skip
    answers = [{"seconds": {"conv": 1.0}}, {"seconds": {"conv": 2.0, "relu": 0.5}}]
    assert {name: row.tolist() for name, row in gains.by_operator(answers).items()} == {
        "conv": [1, 2], "relu": [0, 0.5], "all ops": [1, 2.5],
    }  # fmt: skip
    answers = [{"places": [{"name": "0"}], "seconds": [[[1, 2], [5, 7]]]}]
    assert {name: row.tolist() for name, row in gains.by_place(answers).items()} == {"0": [3], "update": [5]}


def test_a_table_of_gains():
    table = gains.gain_table("op", [{"conv": np.array([0.02, 0.03])}, {"conv": np.array([0.01, 0.01])}])
    assert table.splitlines()[2].split() == ["conv", "25.00", "10.00", "2.50", "(2.00", "to", "3.00)"]


def test_what_one_side_does_not_have_has_no_gain():
    table = gains.gain_table("op", [{"a": np.array([1.0])}, {}])
    assert table.splitlines()[2].split() == ["a", "1000.00", "0.00", "."]


# ---------------------------------------------------------------- ops


@pytest.fixture(params=["tuned", "reference"])
def training(request):
    with use_backend("numpy", kernels=request.param):
        model = Sequential(Conv(1, 2, 3, rng=0), ReLU(), Flatten(), Affine(32, 3, rng=0), ReLU())
        dataset = np.zeros((20, 1, 6, 6), np.uint8), np.arange(20) % 3
        yield OwnTraining(model, SGD(model.parameters()), endless(dataset, 10))


def test_every_op_of_a_step_is_counted_with_the_textbook_too(training):
    ticks = itertools.count()
    calls, seconds = gains.time_operators(training, 3, clock=lambda: next(ticks))
    assert calls == {
        "conv": 1, "relu": 2, "flatten": 1, "affine": 1, "softmax_cross_entropy": 1,
        "softmax_cross_entropy_backward": 1, "relu_backward": 2, "affine_backward": 1, "conv_backward": 1,
        "sgd_update": 1,
    }  # fmt: skip
    assert seconds == calls  # a tick a call


def test_an_op_within_an_op_is_part_of_it():
    x, weight = np.ones((2, 1, 5, 5), np.float32), np.ones((3, 1, 2, 2), np.float32)
    with use_backend("numpy", kernels="reference"), gains.timed_operators() as ledger:
        ops.conv(x, weight, None, Window(2))
        assert list(ledger) == ["conv"]  # and not im2col
        ops.im2col(x, Window(2))
    assert {name: count for name, (count, _) in ledger.items()} == {"conv": 1, "im2col": 1}


def test_the_kernels_are_as_before_after_an_error_too():
    before = dict(active_backend().kernels)
    with pytest.raises(AttributeError), gains.timed_operators():
        ops.conv(None, None, None, Window(2))
    assert active_backend().kernels == before


def test_an_op_is_watched_in_its_thread_alone():
    with gains.timed_operators() as ledger:
        other = threading.Thread(target=lambda: ops.relu(np.ones(2, np.float32)))
        other.start()
        other.join()
        assert not ledger
        ops.relu(np.ones(2, np.float32))
    assert list(ledger) == ["relu"]


@pytest.mark.slow
def test_with_true_processes(tmp_path):
    command = [sys.executable, FILE, "--model", "lenet5", "--batch-size", "10", "--rounds", "5", "--steps", "2",
               "--warm-up", "1", "--noise-bound", "10000", "--json", "all/of.json"]  # fmt: skip
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (run.returncode, run.stderr) == (0, "")
    assert max(map(len, run.stdout.splitlines())) <= 100
    result = json.loads((tmp_path / "all" / "of.json").read_text())
    assert len(result["seconds"]["tuned"]) == len(result["seconds"]["reference"]) == 5
    assert result["operators"]["tuned"][0]["calls"]["conv"] == 2
    assert "conv" in result["kernels"]
