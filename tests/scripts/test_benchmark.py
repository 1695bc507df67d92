"""scripts/benchmark.py: what it prints fits together. Nothing here asserts a time."""

import json

import pytest

from xpcnn.benchmark import PHASES


@pytest.fixture(scope="module")
def run(benchmark_script, tmp_path_factory):
    arguments = (
        "--model",
        "lenet5",
        "--batch-size",
        10,
        "--steps",
        4,
        "--warm-up",
        1,
        "--optimizer",
        "momentum",
    )
    return benchmark_script(
        *arguments, "--json", cwd=tmp_path_factory.mktemp("benchmark"), XPCNN_KERNELS="reference"
    )


def test_json_is_the_last_line_and_its_numbers_fit_together(run):
    assert (run.returncode, run.stderr) == (0, "")
    result = json.loads(run.stdout.splitlines()[-1])
    assert (
        result.items()
        >= {"model": "lenet5", "batch_size": 10, "optimizer": "momentum", "steps": 4, "warm_up": 1}.items()
    )
    phases = result["phases"]
    assert list(phases) == [*PHASES, "step"]
    assert sum(phases[name]["share"] for name in PHASES) == pytest.approx(1)
    assert sum(phases[name]["operations"] for name in PHASES) == phases["step"]["operations"]
    assert result["multiply_adds"] == 416_520  # 117,600 + 240,000 + 48,000 + 10,080 + 840
    assert phases["forward"]["operations"] == 2 * 10 * 416_520
    assert phases["backward"]["operations"] == 2 * 10 * (2 * 416_520 - 117_600)
    assert result["images_per_second"] == pytest.approx(10 / phases["step"]["median_ms"] * 1e3)
    assert result["gflops"] == pytest.approx(phases["step"]["operations"] / phases["step"]["median_ms"] / 1e6)
    assert (result["machine"]["backend"], result["machine"]["kernels"]) == ("numpy", "reference")
    assert {"cpu", "blas", "numpy", "date"} <= result["machine"].keys()


def test_a_table_for_people_comes_first_and_says_what_is_counted(run):
    lines = run.stdout.splitlines()[:-1]
    assert max(map(len, lines)) <= 110
    assert [line.split()[0] for line in lines[5:10]] == [*PHASES, "step"]
    assert "without the first layer's dx" in run.stdout


def test_a_batch_larger_than_the_data_set_is_one_sentence(benchmark_script, tmp_path):
    run = benchmark_script("--batch-size", 1000, cwd=tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("benchmark.py: ")
    assert run.stderr.count("\n") == 1
