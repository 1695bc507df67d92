"""tools/compile_kernels.py: with an nvcc that only reports, and with the real one where there is one."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "compile_kernels.py"

REPORT = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'relu' for 'sm_80'
ptxas info    : Function properties for relu
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, used 0 barriers, 372 bytes cmem[0]
ptxas info    : Compiling entry function 'mean' for 'sm_80'
ptxas info    : Function properties for mean
    8 bytes stack frame, {stores} bytes spill stores, {loads} bytes spill loads
ptxas info    : Used 13 registers, used 1 barriers, 128 bytes smem, 372 bytes cmem[0]
"""


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("compile_kernels", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["compile_kernels"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["compile_kernels"]


@pytest.fixture
def fake_nvcc(tmp_path):
    """Return the path of a program that reports as nvcc does, having compiled nothing."""
    if os.name == "nt":
        pytest.skip("a script is no program on Windows")

    def make(stores=0, loads=0, status=0):
        report = tmp_path / "report.txt"
        report.write_text(REPORT.format(stores=stores, loads=loads) if status == 0 else "error: no")
        program = tmp_path / "nvcc"
        program.write_text(f"#!/bin/sh\ncat {report} >&2\nexit {status}\n")
        program.chmod(0o755)
        return str(program)

    return make


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


def test_reading_ptxas_report(script):
    assert script.read(REPORT.format(stores=8, loads=4)) == [
        script.Use("mean", 13, 128, 12),
        script.Use("relu", 10, 0, 0),
    ]
    with pytest.raises(SystemExit, match="report on relu cannot be read"):
        script.read("Compiling entry function 'relu' for 'sm_80'\n")


def test_a_table_and_no_spill(fake_nvcc):
    done = run("--nvcc", fake_nvcc())
    assert done.returncode == 0, done.stderr
    assert all(f"sm_{arch}" in done.stdout for arch in (75, 80, 86, 89, 90, 100, 120))
    assert "no kernel spills" in done.stdout


@pytest.mark.parametrize("spill", [{"stores": 4}, {"loads": 4}])
def test_a_spill_fails_and_is_named(fake_nvcc, spill):
    done = run("--nvcc", fake_nvcc(**spill), "--arch", "80")
    assert done.returncode == 1
    assert "mean (half, sm_80): 4 bytes" in done.stdout


def test_what_does_not_compile_fails(fake_nvcc):
    done = run("--nvcc", fake_nvcc(status=2), "--arch", "80")
    assert done.returncode == 1
    assert "error: no" in done.stderr


def test_without_nvcc_it_is_skipped_visibly_or_fails_if_required():
    done = run("--nvcc", "no-such-nvcc")
    assert (done.returncode, "SKIPPED" in done.stdout) == (0, True)
    assert run("--nvcc", "no-such-nvcc", "--require").returncode == 1


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on the path")
def test_the_kernels_compile_for_a_gpu_and_do_not_spill():
    """For one architecture here; `make kernels` takes all."""
    done = run("--arch", "90")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no kernel spills" in done.stdout
