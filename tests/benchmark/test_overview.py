"""The text and the numbers that are made of what a worker says."""

import pytest

from xpcnn.benchmark.contest import MOST_STEPS, TURN, Effort
from xpcnn.benchmark.overview import machine_table, memory_line, overview, title
from xpcnn.benchmark.workload import Workload


@pytest.fixture
def report(stage):
    return overview(
        Workload(), {"XPCNN_BACKEND": "numpy"}, Effort(rounds=5, steps=4, warm_up=3), by_layer=True
    )


def test_what_is_asked_is_the_effort(report, stage):
    (_, opened), *others = stage.asked("open")
    assert opened["workload"]["model"] == "simple"
    assert not others
    (_, warm_up), *rounds = stage.asked("steps")
    assert warm_up == {"number": 0, "count": 0, "idle": 3}
    assert [arguments["count"] for _, arguments in rounds] == [4] * 5
    assert len(stage.asked("layers")) == 5


def test_numbers_fit_together(report):
    result = report.result
    assert result["phases"]["step"]["median_ms"] == pytest.approx(30)
    assert result["images_per_second"] == pytest.approx(100 / 0.03)
    assert result["gflops"] == pytest.approx(100)  # 3 * 10^9 operations in 30 ms
    assert (result["rounds"], result["steps"], result["warm_up"]) == (5, 4, 3)
    assert len(result["seconds"]) == 5
    assert len(result["layers"]["seconds"]) == 5
    assert result["noise"]["trusted"]


def test_the_text_says_them_in_lines_of_a_terminal(report):
    assert "100.0 GFLOP/s, 100% of the 100 GFLOP/s of a matrix product here" in report.text
    assert "3,333 images/s" in report.text
    assert "2.0 MB of memory at the peak of the first step" in report.text
    assert "step took 10.00 ms so, and\n30.00 ms without" in report.text
    assert max(map(len, report.text.splitlines())) <= 100


def test_the_peak_is_measured_with_blas_s_own_threads(report, stage):
    product = [environment for name, what, environment in stage.log if what == "begins" and "matrix" in name]
    assert product == [{"XPCNN_BACKEND": "numpy", "XPCNN_KERNELS": "reference"}] * 2


def test_noise_is_warned_of_and_all_is_measured_again(stage):
    turns, warnings = iter(range(100)), []
    stage.seconds = lambda name, workload: [0, 0.01 * (1 + next(turns) % 2), 0.001, 0]
    report = overview(Workload(), {}, Effort(5, 1, 0, warn=warnings.append))
    assert len(warnings) == 2
    assert "NOT TO BE TRUSTED: measured 3 times" in report.text
    assert not report.result["noise"]["trusted"]
    assert len(stage.asked("steps")) == 1 + 3 * 5


@pytest.mark.parametrize(("seconds", "steps"), [(TURN / 10, 10), (1e-6, MOST_STEPS), (100.0, 1)])
def test_steps_that_nobody_gave_fill_a_turn(seconds, steps):
    effort = Effort(load_before=1.5)
    numbers = {"rounds": 7, "steps": steps, "warm_up": max(steps, 3), "load_before": 1.5}
    assert effort.counted(seconds).record() == numbers
    given = Effort(steps=3, warm_up=0, load_before=None).counted(seconds)
    assert given.record() == {"rounds": 7, "steps": 3, "warm_up": 0, "load_before": None}


def test_memory_that_cannot_be_told_is_not_a_number():
    assert memory_line({"memory": None}, None) == "peak memory: not measured on this system"
    assert "4.0 MB of it" in memory_line({"memory": 9_000_000}, (4_000_000, 5_000_000))


def test_the_load_before_is_told_where_it_is_known():
    assert "load         3.2 in the minute before" in machine_table({"cpu": "one"}, Effort(load_before=3.21))
    assert "load" not in machine_table({"cpu": "one"}, Effort(load_before=None))


def test_a_title_says_the_images():
    assert title(Workload(image=(3, 64, 32))) == "simple, 100 random images of 3x64x32 a step, adam"
