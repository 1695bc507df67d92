"""What the suite promises of itself: the same environment everywhere, and no comparison that is never run."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PEERS = {"torch", "onnxruntime", "onnxscript"}
FAMILIES = ("XPCNN_", "OMP_", "OPENBLAS_", "GOTO_", "MKL_", "NUMBA_", "NPY_")
CHANGES_RESULTS = {
    "XPCNN_KERNELS": "reference", "XPCNN_BACKEND": "simulated", "XPCNN_WORKSPACE": "1", "XPCNN_THREADS": "7",
    "XPCNN_NEW": "1", "OMP_NUM_THREADS": "7", "OMP_DYNAMIC": "TRUE", "OPENBLAS_NUM_THREADS": "7",
    "MKL_NUM_THREADS": "7", "GOTO_NUM_THREADS": "7", "NUMBA_DISABLE_JIT": "1", "NPY_DISABLE_CPU_FEATURES": "FMA3",
}  # fmt: skip
KEPT = {"OPENBLAS_CORETYPE": "Haswell", "NUMBA_CACHE_DIR": "somewhere"}


def pytest_in(folder, program, *arguments, environment=None):
    """Run pytest with this repository's conftest.py on one program, in a process of its own."""
    shutil.copy(ROOT / "conftest.py", folder)
    (folder / "test_it.py").write_text(program)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(folder),
        *arguments,
        ".",
    ]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_no_variable_that_changes_results_reaches_a_test_or_what_it_starts(tmp_path):
    program = f"""
import os, subprocess, sys
SAY = "{{name: value for name, value in os.environ.items() if name.startswith({FAMILIES})}}"
def test_it():
    there = subprocess.check_output([sys.executable, "-c", "import os; print(" + SAY + ")"])
    for found in (eval(SAY), eval(there)):
        assert found == {KEPT} | {{
            "XPCNN_THREADS": "3", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
        }}
"""
    others = {name: value for name, value in os.environ.items() if not name.startswith(FAMILIES)}
    ran = pytest_in(tmp_path, program, "--kernel-threads", "3", environment=others | CHANGES_RESULTS | KEPT)
    assert ran.returncode == 0, ran.stdout


def test_the_kernels_have_as_many_threads_as_the_option_says(pytestconfig):
    from xpcnn.backend import use_backend
    from xpcnn.kernels.cpu import threads

    with use_backend("numpy"):
        assert threads.count() == pytestconfig.getoption("--kernel-threads")


@pytest.mark.parametrize("skip", ["@pytest.mark.skip\ndef test_it(): pass", "pytest.importorskip('no_such')"])
def test_what_is_skipped_fails_where_nothing_may_be(tmp_path, skip):
    program = f"import pytest\n{skip}\n"
    assert pytest_in(tmp_path, program).returncode in (0, 5)  # 5: no test was collected
    ran = pytest_in(tmp_path, program, "--nothing-skipped")
    assert ran.returncode in (1, 2), ran.stdout
    assert "nothing may be skipped" in ran.stdout


@pytest.mark.parametrize(
    "file", sorted(TESTS.rglob("test_*.py")), ids=lambda file: str(file.relative_to(TESTS))
)
def test_every_comparison_with_a_peer_is_one_that_make_peers_runs(file):
    """A test asks for the fixture `torch`, `onnxruntime` or `onnxscript`: so it is marked, and found by `make peers`.

    One that skips by its own means would be skipped in silence for ever. Only a module that as a whole needs a peer
    may, and marks itself.
    """
    text = file.read_text(encoding="utf-8")
    for name in PEERS:
        assert f'find_spec("{name}") is ' + "None" not in text, f"ask for the fixture {name} instead"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.importorskip":
            name = ast.literal_eval(node.args[0])
            assert name.partition(".")[0] not in PEERS or "pytestmark = pytest.mark.peers" in text, (
                f"line {node.lineno}: ask for the fixture {name} instead, or set pytestmark = pytest.mark.peers"
            )
