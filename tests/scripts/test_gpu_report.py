"""scripts/gpu_report.py, with the simulated device in the GPU's place; and its end where there is none."""

import json
import subprocess
import sys

import pytest
from scripts.conftest import SCRIPTS

from xpcnn.backend._probe import probe_cupy
from xpcnn.simulated.cuda import why_not
from xpcnn.simulated.judge import why_no_judge


def report(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPTS / "gpu_report.py"), *map(str, arguments)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(
    bool(why_no_judge() or why_not()), reason="the simulated device does not run kernels here"
)
def test_the_report_of_the_simulated_device(tmp_path):
    done = report("--backend", "simulated", "--quick", "--output", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (page,), (numbers,) = tmp_path.glob("REPORT-simulated-*.md"), tmp_path.glob("REPORT-simulated-*.json")
    found, text = json.loads(numbers.read_text()), page.read_text()
    assert found["tests"]["passed"]
    assert "passed" in found["tests"]["summary"]
    assert found["agrees"]
    for name in ("simple", "deep"):
        curves = [run["losses"] for run in found["training"][name]["runs"].values()]
        apart = max(abs(a - b) for a, b in zip(*curves, strict=True))
        assert found["training"][name]["largest"] == pytest.approx(apart)
        assert f"| {name} | simulated |" in text
        assert f"| {name} | numpy |" in text
    assert "**No GPU: the simulated device in its place.**" in text


@pytest.mark.skipif(probe_cupy() is None, reason="there is a GPU")
def test_without_a_gpu_it_ends_in_one_sentence_and_writes_nothing(tmp_path):
    done = report("--quick", "--output", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("gpu_report.py: backend cupy cannot run here: ")
    assert list(tmp_path.iterdir()) == []
