"""Ours and PyTorch, from what workers answer; and once with true processes, where PyTorch is installed."""

import pytest

from xpcnn.benchmark.against import CHANNELS_LAST, CONTIGUOUS, OURS, against_pytorch
from xpcnn.benchmark.contest import Effort
from xpcnn.benchmark.workload import Workload
from xpcnn.errors import BenchmarkError

EFFORT = Effort(rounds=5, steps=2, warm_up=1)
SECONDS = {OURS: 0.03, CONTIGUOUS: 0.06, CHANNELS_LAST: 0.04}


@pytest.fixture
def report(stage):
    stage.seconds = lambda name, workload: [0, SECONDS[name], 0, 0]
    return against_pytorch(Workload(), {"XPCNN_BACKEND": "numpy"}, EFFORT)


def test_the_better_format_counts_and_both_are_shown(report):
    assert report.result["ratio"]["median"] == pytest.approx(4 / 3)
    assert report.result["better_format"] == CHANNELS_LAST
    assert report.result["ratios"][CONTIGUOUS]["median"] == pytest.approx(2)
    assert "1.33 (1.33 to 1.33)  PyTorch's better format" in report.text
    assert "2.00 (2.00 to 2.00)\n" in report.text
    assert "PyTorch takes 1.33 times as long" in report.text
    assert max(map(len, report.text.splitlines())) <= 100


def test_pytorch_s_processes_keep_blas_s_threads(report, stage):
    begun = {name: env for name, what, env in stage.log if what == "begins"}
    assert "XPCNN_KERNELS" not in begun[OURS]
    assert (
        begun[CONTIGUOUS] == begun[CHANNELS_LAST] == {"XPCNN_BACKEND": "numpy", "XPCNN_KERNELS": "reference"}
    )
    opened = dict(stage.asked("open"))
    assert opened[CHANNELS_LAST]["program"] == "pytorch"
    assert opened[CHANNELS_LAST]["channels_last"]
    assert not opened[CONTIGUOUS]["channels_last"]
    assert "program" not in opened[OURS]
    assert opened[OURS]["workload"] == opened[CONTIGUOUS]["workload"]


def test_other_losses_end_it_before_anything_is_timed(stage):
    stage.losses = lambda name: [2.0, 1.5, 1.0 if name == OURS else 1.001]
    with pytest.raises(BenchmarkError, match=r"the first losses differ by 1.0e-03, and 0.0001 is allowed"):
        against_pytorch(Workload(), {}, EFFORT)
    assert not any(arguments["count"] for _, arguments in stage.asked("steps"))


def test_a_slower_xpcnn_is_reported(stage):
    stage.seconds = lambda name, workload: [0, {OURS: 0.08}.get(name, 0.04), 0, 0]
    text = against_pytorch(Workload(), {}, EFFORT).text
    assert "PyTorch is faster: xpcnn takes 2.00 times as long." in text


def test_there_is_no_verdict_on_a_noisy_machine(stage):
    turns = iter(range(1000))
    stage.seconds = lambda name, workload: [0, 0.01 * (1 + next(turns) % 4), 0, 0]
    text = against_pytorch(Workload(), {}, EFFORT).text
    assert "Which is faster cannot be said:\nNOT TO BE TRUSTED" in text
    assert "is faster: " not in text


@pytest.mark.slow
@pytest.mark.usefixtures("torch")
def test_with_true_processes():
    report = against_pytorch(
        Workload("deep", 4, "momentum"), {"XPCNN_BACKEND": "numpy"}, Effort(5, 1, 0, bound=100)
    )
    ours, *theirs = (report.result["losses"][name] for name in (OURS, CONTIGUOUS, CHANNELS_LAST))
    assert all(one == pytest.approx(ours, rel=1e-5) for one in theirs)
    assert "thread" in report.result["machine"]["pytorch"]
    assert {name: len(rounds) for name, rounds in report.result["seconds"].items()} == {
        OURS: 5, CONTIGUOUS: 5, CHANNELS_LAST: 5,
    }  # fmt: skip
