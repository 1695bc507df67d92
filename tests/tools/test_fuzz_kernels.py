"""tools/fuzz_kernels.py: it stops in time, and prints what it finds as a program that finds it again."""

import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fuzzing import substitutes

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tools" / "fuzz_kernels.py"


@pytest.fixture
def fuzz(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = importlib.util.spec_from_file_location("fuzz_kernels", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_it_counts_what_was_right_and_stops_in_time(fuzz, capsys):
    began = time.monotonic()
    assert fuzz(["--kernels", "pure", "--minutes", "0.01", "--ops", "relu", "flatten", "--seed", "5"]) == 0
    counted = re.search(r"^seed 5, pure kernels: (\d+) cases were right \(", capsys.readouterr().out)
    assert int(counted[1]) >= 1
    assert time.monotonic() - began < 60


def test_what_it_finds_is_a_program_that_finds_it_again(fuzz, capsys, monkeypatch, tmp_path):
    right = substitutes("pure")["relu"]
    wrong = {"relu": lambda x: right(x) + (x > 2), "flatten": substitutes("pure")["flatten"]}
    monkeypatch.setattr("fuzzing.comparison.substitutes", lambda kind: wrong)
    assert fuzz(["--kernels", "pure", "--minutes", "1", "--ops", "relu"]) == 1
    said = capsys.readouterr().out
    assert said.endswith("wrong: relu\n")
    program = said[said.index("import sys") : said.index("seed 0, pure")]
    with pytest.raises(AssertionError, match="elements are wrong"):
        exec(program, {})
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")  # there nothing is planted


def test_an_op_without_such_a_kernel_is_refused(fuzz, capsys):
    with pytest.raises(SystemExit):
        fuzz(["--kernels", "pure", "--ops", "im2col"])
    assert "there is no pure kernel for im2col" in capsys.readouterr().err
