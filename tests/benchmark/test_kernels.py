"""Reference and kernels side by side, from what two workers say."""

import numpy as np
import pytest

from xpcnn.benchmark.kernels import by_operator, by_phase, by_place, compare_kernels, gain_table
from xpcnn.benchmark.overview import Effort
from xpcnn.benchmark.workload import Workload
from xpcnn.errors import BenchmarkError

EFFORT = Effort(rounds=5, steps=2, warm_up=1)


@pytest.fixture
def report(stage):
    stage.seconds = lambda name, workload: (
        [0, 0.06, 0, 0] if name.startswith("reference") else [0, 0.02, 0, 0]
    )
    return compare_kernels(Workload(), {"XPCNN_BACKEND": "numpy"}, EFFORT, by_layer=True)


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
        compare_kernels(Workload(), {}, EFFORT)
    assert not any(arguments["count"] for _, arguments in stage.asked("steps"))
    assert [what for _, what, _ in stage.log[-2:]] == ["ends", "ends"]


def test_a_backend_without_kernels_is_refused(stage, monkeypatch):
    nothing = {"calls": {}, "seconds": {"conv": 0.1}, "kernels": []}
    worker = type(stage.worker("any"))
    monkeypatch.setattr(worker, "operators", lambda self, **_: nothing)
    with pytest.raises(BenchmarkError, match="backend numpy has no kernels of its own"):
        compare_kernels(Workload(), {}, EFFORT)


def test_rows_are_medians_of_each_round():
    answers = [[[1, 2, 3, 4], [1, 4, 3, 4], [9, 3, 3, 4]], [[0, 0, 0, 1]]]
    assert {name: row.tolist() for name, row in by_phase(answers).items()} == {
        "data": [1, 0], "forward": [3, 0], "backward": [3, 0], "update": [4, 1], "step": [12, 1],
    }  # fmt: skip
    answers = [{"seconds": {"conv": 1.0}}, {"seconds": {"conv": 2.0, "relu": 0.5}}]
    assert {name: row.tolist() for name, row in by_operator(answers).items()} == {
        "conv": [1, 2], "relu": [0, 0.5], "all ops": [1, 2.5],
    }  # fmt: skip
    answers = [{"places": [{"name": "0"}], "seconds": [[[1, 2], [5, 7]]]}]
    assert {name: row.tolist() for name, row in by_place(answers).items()} == {"0": [3], "update": [5]}


def test_what_one_side_does_not_have_has_no_gain():
    table = gain_table("op", [{"a": np.array([1.0])}, {}])
    assert table.splitlines()[2].split() == ["a", "1000.00", "0.00", "."]
