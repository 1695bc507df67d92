"""Sweeps, from what workers say."""

import csv
import io
import re
from pathlib import Path

import pytest

from xpcnn.benchmark.contest import Effort
from xpcnn.benchmark.sweep import BATCHES, COLUMNS, as_csv, cores, points, sweep, sweep_table, thread_counts
from xpcnn.benchmark.workload import Workload

EFFORT = Effort(rounds=5, steps=2, warm_up=1)


def by_batch(name, workload):
    return [0, 0.001 * workload["batch_size"], 0, 0]


def test_a_batch_sweep_is_one_process_with_every_batch_in_turn(stage):
    stage.seconds = by_batch
    found = sweep("batch", (1, 10, 100), Workload(), {"XPCNN_BACKEND": "numpy"}, EFFORT)
    assert [row["batch_size"] for row in found.rows] == [1, 10, 100]
    assert [row["step_ms"] for row in found.rows] == pytest.approx([1, 10, 100])
    assert [row["images_per_second"] for row in found.rows] == pytest.approx([1000] * 3)
    timed = [arguments["number"] for _, arguments in stage.asked("steps") if arguments["count"]]
    assert timed == [0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1, 2]
    assert {name for name, _ in stage.asked("steps")} == {"simple"}
    assert found.rows[0]["peak_gflops"] == 100


def test_a_width_sweep_changes_the_network(stage):
    found = sweep("width", (0.5, 2), Workload(), {}, EFFORT)
    assert [arguments["workload"]["width"] for _, arguments in stage.asked("open")] == [0.5, 2]
    assert [row["width"] for row in found.rows] == [0.5, 2]


def test_a_sweep_of_threads_is_a_process_each(stage):
    found = sweep("threads", (1, 2), Workload(), {"XPCNN_KERNELS": "tuned"}, EFFORT)
    begun = {name: environment for name, what, environment in stage.log if what == "begins"}
    assert begun["1 threads"] == {"XPCNN_KERNELS": "tuned", "XPCNN_THREADS": "1"}
    assert begun["2 threads"]["XPCNN_THREADS"] == "2"
    assert [row["threads"] for row in found.rows] == [1, 2]


def test_only_what_was_noisy_is_measured_again(stage):
    turns, warnings = iter(range(100)), []
    stage.seconds = lambda name, workload: [
        0, 0.01 if workload["batch_size"] == 1 else 0.01 * (1 + next(turns) % 2), 0, 0,
    ]  # fmt: skip
    found = sweep("batch", (1, 10), Workload(), {}, Effort(5, 1, 0, warn=warnings.append))
    assert [row["measured"] for row in found.rows] == [1, 3]
    assert warnings[0].startswith("at 10 the rounds spread by")
    assert len([a for _, a in stage.asked("steps") if a["number"] == 0 and a["count"]]) == 5
    assert "10*" in sweep_table(found, 0.15)
    assert "1*" not in sweep_table(found, 0.15)


def test_the_file_has_the_columns_and_reads_back(stage):
    stage.seconds = by_batch
    found = sweep("batch", (1, 3), Workload(), {}, EFFORT)
    first, second = csv.DictReader(io.StringIO(as_csv(found.rows)))
    assert tuple(first) == COLUMNS
    assert (second["batch_size"], second["step_ms"], second["model"]) == ("3", "3", "simple")
    assert (second["forward_ms"], second["data_ms"]) == ("3", "0")


def test_the_page_says_what_every_column_is():
    page = (Path(__file__).parents[2] / "docs" / "benchmark.md").read_text(encoding="utf-8")
    assert set(COLUMNS) <= set(re.findall(r"\w+", page.partition("| column | |")[2]))


def test_points():
    assert points("batch") == BATCHES
    assert points("threads")[-1] == cores()
    assert thread_counts(1) == (1,)
    assert thread_counts(16) == (1, 2, 4, 8, 16)
