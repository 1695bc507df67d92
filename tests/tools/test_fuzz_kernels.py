"""tools/fuzz_kernels.py: it stops in time, and prints what it finds as a program that finds it again."""

import importlib.util
import itertools
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

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
    # a clock that goes on by a second whenever somebody looks
    clock = SimpleNamespace(monotonic=itertools.count().__next__)
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr("fuzzing.searching.time", clock)
    return module.main


@pytest.mark.parametrize("minutes", [0, 1, 4])
def test_it_counts_what_was_right_and_stops_in_time(fuzz, capsys, minutes):
    assert (
        fuzz(["--kernels", "pure", "--minutes", str(minutes), "--ops", "relu", "flatten", "--seed", "5"]) == 0
    )
    found = re.match(r"seed 5, pure kernels: (\d+) cases were right", capsys.readouterr().out)
    assert int(found[1]) == pytest.approx(60 * minutes, abs=3)


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
