import os
import subprocess
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from xpcnn import backend
from xpcnn.__main__ import main
from xpcnn.backend import NAMES, Backend
from xpcnn.backend import _probe as probe
from xpcnn.backend._probe import FAILED, NOT_INSTALLED, NOT_REACHED, OK, Step
from xpcnn.commands import diagnosis
from xpcnn.commands.diagnosis import WIDTH, Attempt

MACHINE = sys.modules["xpcnn.benchmark.machine"]  # the package has a function of this name

WORKS = Attempt(Backend("numpy", np, np.ndarray, np.asarray, np.asarray, lambda: None, False))
MISSING = Attempt(None, 'CuPy is not installed; run: pip install "xpcnn[cuda13]"   (xpcnn[rocm] for AMD)')
NO_GPU = [
    Step("import", OK, "CuPy 14.2.0"),
    Step("GPU", FAILED, "CuPy finds no GPU", "nvidia-smi", "CuPy finds no GPU; run: nvidia-smi   (a remark)"),
    Step("kernel", NOT_REACHED),
]


def nothing_chosen(monkeypatch):
    """No backend is open, and neither this context nor the process has chosen one."""
    monkeypatch.setattr(backend._current, "_default", None)
    monkeypatch.setattr(backend._registry, "_opened", {})


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """Backends are opened anew; CuPy is one without a GPU, whatever this machine has."""
    nothing_chosen(monkeypatch)
    monkeypatch.setattr(probe, "steps", lambda: NO_GPU)
    monkeypatch.delenv("XPCNN_KERNELS", raising=False)
    token = backend._current._chosen.set(None)
    yield
    backend._current._chosen.reset(token)


def lines_of(text):
    return [line.split() for line in text.splitlines()]


# ---------------------------------------------------------------- the whole


def test_on_numpy_it_says_so_and_is_content(capsys, monkeypatch):
    monkeypatch.delenv("XPCNN_BACKEND", raising=False)
    assert main() == 0
    text = capsys.readouterr().out
    assert "computes on numpy (the default, as XPCNN_BACKEND is not set)." in text.splitlines()[0]
    assert ["numpy", "yes", "active"] in lines_of(text)
    assert ["cupy", "no", "fails", "at", '"GPU":', "see", "below"] in lines_of(text)
    assert ["numpy", np.__version__] in lines_of(text)


def test_a_backend_that_cannot_run_is_shown_and_is_status_1(capsys, monkeypatch):
    monkeypatch.setenv("XPCNN_BACKEND", "cupy")
    assert main() == 1
    captured = capsys.readouterr()
    assert captured.err == ""
    first = captured.out.splitlines()
    assert first[0].endswith("cannot compute (XPCNN_BACKEND=cupy): CuPy finds no GPU")
    assert first[1] == "run: nvidia-smi"
    assert "active" not in captured.out


def test_the_steps_of_cupy_are_a_table_with_the_command_below_the_one_that_failed():
    text, _ = diagnosis.diagnose({})
    (steps,) = [part.splitlines() for part in text.split("\n\n") if part.startswith("cupy")]
    assert steps[1] == "-" * WIDTH
    assert lines_of("\n".join(steps[2:])) == [
        ["import", "ok", "CuPy", "14.2.0"],
        ["GPU", "failed", "CuPy", "finds", "no", "GPU"],
        ["run:", "nvidia-smi"],
        ["(a", "remark)"],
        ["kernel", "not", "reached"],
    ]
    assert text.count("run: nvidia-smi") == 1


def test_a_cupy_that_works_has_a_line_a_step():
    taken = [Step(name, OK, "compiles and runs") for name in probe._STEPS]
    lines = diagnosis.table(("cupy", "", ""), diagnosis.step_rows(taken)).splitlines()
    assert [line.partition("  ")[0] for line in lines[2:]] == list(probe._STEPS)
    assert all(line.endswith("compiles and runs") for line in lines[2:])


def test_why_a_cupy_whose_steps_are_well_is_no_backend_is_said_in_full(monkeypatch):
    monkeypatch.setattr(probe, "steps", lambda: [Step("import", OK, "CuPy 14.2.0")])
    monkeypatch.setattr(backend._openers, "probe_cupy", lambda: "it is at lunch; run: coffee")
    text, _ = diagnosis.diagnose({})
    assert ["cupy", "no", "it", "is", "at", "lunch"] in lines_of(text)
    assert "see below" not in text


def test_without_cupy_there_is_no_table_of_steps(monkeypatch):
    absent = Step("import", FAILED, NOT_INSTALLED, "pip install it", f"{NOT_INSTALLED}; run: pip install it")
    monkeypatch.setattr(probe, "steps", lambda: [absent, Step("GPU", NOT_REACHED)])
    text, _ = diagnosis.diagnose({})
    assert "not reached" not in text
    assert ["cupy", "no", "CuPy", "is", "not", "installed"] in lines_of(text)
    assert ["run:", "pip", "install", "it"] in lines_of(text)


def test_a_backend_that_does_not_exist_is_shown_with_those_that_do():
    text, usable = diagnosis.diagnose({"XPCNN_BACKEND": "opencl"})
    assert not usable
    for name in NAMES:
        assert name in text.partition("\n\n")[0]
    assert "'opencl' is unknown" in text


def test_auto_says_what_it_took_in_the_text_only(capsys):
    text, usable = diagnosis.diagnose({"XPCNN_BACKEND": "auto"})
    assert usable
    assert "computes on numpy (XPCNN_BACKEND=auto)." in text
    assert capsys.readouterr() == ("", "")


def test_unknown_kernels_are_shown(monkeypatch):
    monkeypatch.setenv("XPCNN_KERNELS", "fast")
    text, usable = diagnosis.diagnose({"XPCNN_KERNELS": "fast"})
    assert not usable
    assert "'fast' is unknown; set XPCNN_KERNELS to one of: tuned, pure, reference" in text


@pytest.mark.parametrize("asked", [None, "cupy", "opencl"])
def test_no_line_is_wider_than_the_terminal(asked):
    text, _ = diagnosis.diagnose({"XPCNN_BACKEND": asked} if asked else {})
    assert max(map(len, text.splitlines())) == WIDTH  # the rules are as wide as it gets
    assert text.isascii()
    assert all(line == line.rstrip() for line in text.splitlines())


def test_looking_leaves_the_active_backend_as_it_is():
    diagnosis.diagnose({})
    assert backend._current._chosen.get() is backend._current._default is None


def test_in_a_process_of_its_own():
    folder = os.path.dirname(os.path.dirname(os.path.dirname(diagnosis.__file__)))
    environment = {**os.environ, "XPCNN_BACKEND": "opencl", "PYTHONPATH": folder}
    command = [sys.executable, "-m", "xpcnn"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (1, "")
    assert "backend 'opencl' is unknown" in ran.stdout


def test_a_reader_that_goes_away_is_no_traceback():
    """As `| head` does: the pipe is closed before all is written."""
    read, write = os.pipe()
    os.close(read)
    environment = {
        **os.environ,
        "PYTHONPATH": os.path.dirname(os.path.dirname(os.path.dirname(diagnosis.__file__))),
    }
    command = [sys.executable, "-m", "xpcnn"]
    ran = subprocess.run(
        command, env=environment, stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (ran.returncode, ran.stderr) == (1, "")


# ---------------------------------------------------------------- the rows


def test_a_command_stands_on_a_line_of_its_own_and_so_does_the_remark():
    rows = diagnosis.backend_rows({"numpy": WORKS, "cupy": MISSING}, WORKS)
    assert rows == [
        ("numpy", "yes", "active"),
        ("cupy", "no", 'CuPy is not installed\nrun: pip install "xpcnn[cuda13]"\n(xpcnn[rocm] for AMD)'),
    ]


def test_nothing_is_active_where_the_chosen_one_does_not_work():
    rows = diagnosis.backend_rows({"numpy": WORKS, "cupy": MISSING}, MISSING)
    assert rows[0] == ("numpy", "yes", "")


def test_gpus_have_name_and_memory():
    """A module with two devices; which one is asked matters."""
    module = ModuleType("cupy")
    names = [b"NVIDIA H100 80GB HBM3", b"NVIDIA T4"]
    memory = [(60 * 2**30, 80 * 2**30), (2**30, 16 * 2**30)]
    module.cuda = SimpleNamespace(
        runtime=SimpleNamespace(
            getDeviceCount=lambda: 2, getDeviceProperties=lambda index: {"name": names[index], "major": 9}
        ),
        Device=lambda index: SimpleNamespace(mem_info=memory[index]),
    )
    assert diagnosis.gpu_rows(module) == [
        ("gpu 0", "NVIDIA H100 80GB HBM3, 80.0 GiB of memory, 60.0 GiB free"),
        ("gpu 1", "NVIDIA T4, 16.0 GiB of memory, 1.0 GiB free"),
    ]
    assert diagnosis.gpu_rows(np) == []


def test_the_host_without_sysconf_and_affinity(monkeypatch):
    """As on Windows."""
    monkeypatch.setattr(MACHINE, "cpu_model", lambda: "Some CPU")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert MACHINE.host_row() == ("cpu", "Some CPU, 4 cores")


def test_the_memory_of_the_host_is_pages_times_their_size(monkeypatch):
    monkeypatch.setattr(MACHINE, "cpu_model", lambda: "Some CPU")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**20}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__, raising=False)
    assert MACHINE.host_row() == ("cpu", "Some CPU, 1 core, 4.0 GiB of memory")


def test_the_name_of_the_processor(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nmodel\t\t: 85\nmodel name\t: AMD EPYC 7B13: a CPU\nmodel name\t: another\n"
    )
    assert MACHINE.cpu_model(cpuinfo) == "AMD EPYC 7B13: a CPU"
    cpuinfo.write_text("processor\t: 0\nBogoMIPS\t: 50.00\n")  # as on ARM
    assert MACHINE.cpu_model(cpuinfo) == MACHINE.cpu_model(tmp_path / "absent") != ""


def test_each_blas_has_its_threads():
    libraries = [
        {"user_api": "openmp", "internal_api": "openmp", "version": None, "num_threads": 8},
        {
            "user_api": "blas",
            "internal_api": "openblas",
            "version": "0.3.31",
            "num_threads": 2,
            "architecture": "Zen",
        },
        {"user_api": "blas", "internal_api": "mkl", "version": None, "num_threads": 1},
    ]
    assert diagnosis.blas_rows(libraries) == [
        ("blas", "openblas 0.3.31, 2 threads, for Zen"),
        ("blas", "mkl, 1 thread"),
    ]
    ((name, text),) = diagnosis.blas_rows(libraries[:1])
    assert name == "blas"
    assert "does not know" in text


def test_the_kernels_that_stand_in_for_the_reference():
    tuned = Attempt(replace(WORKS.backend, kernels={"max_pool": len, "conv": len}))
    assert diagnosis.kernel_row(tuned, None)[1] == (
        "tuned (XPCNN_KERNELS is not set), in place of the reference: conv, max_pool"
    )
    assert diagnosis.kernel_row(WORKS, "reference")[1].startswith("reference (XPCNN_KERNELS=reference)")
    assert diagnosis.kernel_row(MISSING, None)[1].endswith("none")


def test_what_is_not_installed_has_its_command():
    rows = dict(diagnosis.version_rows({"numpy": ["numpy"], "safetensors": ["safetensors"]}))
    assert rows["numpy"] == np.__version__
    assert rows["cupy"] == 'not installed; run: pip install "xpcnn[cuda13]"'
    assert rows["matplotlib"] == 'not installed; run: pip install "xpcnn[viz]"'
    assert rows["python"].startswith(".".join(map(str, sys.version_info[:3])))


def test_each_wheel_of_cupy_has_its_version(monkeypatch):
    monkeypatch.setattr(
        diagnosis.metadata, "version", {"cupy-cuda12x": "13.6.0", "cupy-cuda13x": "14.2.0"}.get
    )
    rows = dict(diagnosis.version_rows({"cupy": ["cupy-cuda13x", "cupy-cuda12x", "cupy-cuda12x"]}))
    assert rows["cupy"] == "13.6.0 (cupy-cuda12x), 14.2.0 (cupy-cuda13x)"
