"""scripts/benchmark.py: what it prints fits together. Nothing here asserts a time."""

import csv
import importlib.util
import json

import pytest

from xpcnn.benchmark import PHASES
from xpcnn.benchmark.sweep import COLUMNS

FEW = ("--rounds", 5, "--steps", 2, "--warm-up", 1, "--noise-bound", 10_000)
LENET = ("--model", "lenet5", "--batch-size", 10, "--optimizer", "momentum")


@pytest.fixture(scope="module")
def run(benchmark_script, tmp_path_factory):
    return benchmark_script(
        *LENET,
        *FEW,
        "--layers",
        "--json",
        "-",
        "--kernels",
        "reference",
        cwd=tmp_path_factory.mktemp("benchmark"),
    )


def test_json_is_the_last_line_and_its_numbers_fit_together(run):
    assert (run.returncode, run.stderr) == (0, "")
    result = json.loads(run.stdout.splitlines()[-1])
    expected = {
        "model": "lenet5",
        "batch_size": 10,
        "optimizer": "momentum",
        "rounds": 5,
        "steps": 2,
        "warm_up": 1,
    }
    assert result.items() >= expected.items()
    phases = result["phases"]
    assert list(phases) == [*PHASES, "step"]
    assert sum(phases[name]["share"] for name in PHASES) == pytest.approx(1)
    assert sum(phases[name]["operations"] for name in PHASES) == phases["step"]["operations"]
    assert result["multiply_adds"] == 416_520  # 117,600 + 240,000 + 48,000 + 10,080 + 840
    assert phases["forward"]["operations"] == 2 * 10 * 416_520
    assert phases["backward"]["operations"] == 2 * 10 * (2 * 416_520 - 117_600)
    assert result["images_per_second"] == pytest.approx(10 / phases["step"]["median_ms"] * 1e3)
    assert result["gflops"] == pytest.approx(phases["step"]["operations"] / phases["step"]["median_ms"] / 1e6)
    assert [len(steps) for steps in result["seconds"]] == [2] * 5
    assert len(result["layers"]["places"]) == 11  # ReLU and pooling in one, and the loss
    assert (result["machine"]["backend"], result["machine"]["kernels"]) == ("numpy", "reference")
    assert {"cpu", "blas", "numpy", "date"} <= result["machine"].keys()


def test_a_table_for_people_comes_first_and_says_what_is_counted(run):
    lines = run.stdout.splitlines()[:-1]
    assert max(map(len, lines)) <= 100
    assert [line.split()[0] for line in lines[5:10]] == [*PHASES, "step"]
    assert "without the first layer's dx" in run.stdout
    assert "GFLOP/s of a matrix product here" in run.stdout
    assert "costs a little itself" in run.stdout


@pytest.mark.slow
def test_a_sweep_writes_a_file_and_keeps_the_former(benchmark_script, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "lenet5-batch.csv").write_text("the former")
    run = benchmark_script(
        *LENET, *FEW, "--sweep", "batch", "--points", "1,4", "--output", "out", cwd=tmp_path
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert max(map(len, run.stdout.splitlines())) <= 100
    with open(tmp_path / "out" / "lenet5-batch.csv") as file:
        rows = [*csv.DictReader(file)]
    assert tuple(rows[0]) == COLUMNS
    assert [row["batch_size"] for row in rows] == ["1", "4"]
    assert (tmp_path / "out" / "lenet5-batch.1.csv").read_text() == "the former"
    drawn = importlib.util.find_spec("matplotlib") is not None
    assert (tmp_path / "out" / "lenet5-batch.png").exists() == drawn
    assert ("beside it" if drawn else "xpcnn[viz]") in run.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--batch-size", 1000), "expected at least one batch of 1000, got 300 images; pass a smaller batch size"),
        (("--model", "alexnet"), "alexnet does not fit images of (1, 28, 28)"),
        (("--sweep", "batch", "--against", "pytorch"), "--sweep and --against do not go together; give one of them"),
        (("--layers", "--against", "pytorch"), "--layers and --against do not go together; leave one of them out"),
        (("--points", "1,2"), "--points is for a sweep; add --sweep batch, width, threads, or leave it out"),
        (("--output", "x"), "--output is for a sweep"),
        (("--sweep", "threads", "--points", "0.5"), "--sweep threads takes whole numbers from 1 up"),
        (("--sweep", "threads", "--backend", "cupy"), "--sweep threads is for the processor; take --backend numpy"),
        (("--sweep", "width", "--model", "lenet5"), "lenet5 has one width only"),
        (("--against", "pytorch", "--backend", "simulated"), "--backend simulated stands in for a GPU"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_one_sentence(benchmark_script, tmp_path, arguments, sentence):
    run = benchmark_script(*arguments, cwd=tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith(f"benchmark.py: {sentence}")
    assert run.stderr.count("\n") == 1


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed")
def test_without_pytorch_one_sentence_says_how_to_get_it(benchmark_script, tmp_path):
    run = benchmark_script("--against", "pytorch", cwd=tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "benchmark.py: PyTorch is not installed; run: pip install torch\n"


@pytest.mark.parametrize(
    "arguments",
    [("--image", "3x4"), ("--points", "1,x"), ("--rounds", 4), ("--kernels", "fast"), ("--kernels", "both")],
)
def test_what_cannot_be_read_is_an_error_of_argparse(benchmark_script, tmp_path, arguments):
    run = benchmark_script(*arguments, cwd=tmp_path)
    assert run.returncode == 2
    assert f"argument {arguments[0]}" in run.stderr
