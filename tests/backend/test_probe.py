import os
import sys
from importlib import metadata

import numpy as np
import pytest
from stub_cupy import GIB, stub_cupy

from xpcnn.backend import _probe as probe
from xpcnn.backend._probe import FAILED, NOT_REACHED, OK, Step, probe_cupy, steps

NAMES = list(probe._STEPS)
CUDA13 = 'pip install "cupy-cuda13x[ctk]"'
CUDA12 = 'pip install "cupy-cuda12x[ctk]"'


class CUDARuntimeError(RuntimeError):
    pass


NO_DRIVER = CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient\nsecond line")
NO_DEVICE = CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
NO_MEMORY = CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
NO_HEADERS = RuntimeError("catastrophic error: cannot open source file cuda_fp16.h\nmore than one line")
NO_NVRTC = RuntimeError('Failure finding "libnvrtc.so.13"')
NO_CUBLAS = RuntimeError('Failure finding "libcublas.so.13"')
OLD_GPU = RuntimeError("nvrtc: error: invalid value for --gpu-architecture (-arch)")
READ_ONLY = PermissionError(13, "Permission denied", "/.cupy")


@pytest.fixture(autouse=True)
def no_choice_of_gpus(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def installed(monkeypatch):
    """Put a module in CuPy's place, under the names of these wheels."""

    def put(module, *wheels):
        monkeypatch.setitem(sys.modules, "cupy", module)
        monkeypatch.setattr(probe, "wheels", lambda: list(wheels))

    return put


@pytest.fixture
def raising(monkeypatch, tmp_path):
    """Put a cupy.py that fails with this line in CuPy's place."""

    def write(line, *wheels):
        (tmp_path / "cupy.py").write_text(line)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "cupy", raising=False)
        monkeypatch.setattr(probe, "wheels", lambda: list(wheels))

    return write


def failed(name):
    """The step of this name: it failed, those before it are ok, those after it are not reached; one sentence."""
    taken, place = steps(), NAMES.index(name)
    assert [step.name for step in taken] == NAMES
    assert [step.state for step in taken] == [OK] * place + [FAILED] + [NOT_REACHED] * (
        len(NAMES) - place - 1
    )
    assert all(step.seen for step in taken[:place])
    assert all(step == Step(step.name, NOT_REACHED) for step in taken[place + 1 :])
    step = taken[place]
    assert probe_cupy() == step.sentence  # the backend's error and the table say the same
    assert "\n" not in step.sentence
    assert step.sentence.startswith(step.seen)
    assert step.sentence.count("run: ") == 1
    assert step.sentence.partition("   (")[0].endswith(f"run: {step.command}")
    return step


# ---------------------------------------------------------------- all is well


@pytest.mark.parametrize("wheels", [["cupy-cuda13x"], []], ids=["a wheel", "unknown to pip"])
def test_a_cupy_that_works(installed, wheels):
    installed(stub_cupy(), *wheels)
    assert probe_cupy() is None
    assert [(step.name, step.state) for step in steps()] == [(name, OK) for name in NAMES]
    seen = {step.name: step.seen for step in steps()}
    assert seen["one wheel"] == (wheels or ["none that pip knows of"])[0]
    assert seen["import"] == "CuPy 14.2.0"
    assert seen["NumPy ABI"] == f"NumPy {np.__version__}"
    assert (seen["driver"], seen["driver version"]) == ("up to CUDA 13.1", "for CUDA 13.0")
    assert (seen["GPU"], seen["free memory"]) == ("1 GPU", "60.0 of 80.0 GiB")


def test_within_one_major_version_an_older_driver_will_do(installed):
    installed(stub_cupy(driver=12020, runtime=12090), "cupy-cuda12x")
    assert probe_cupy() is None


def test_amds_version_numbers_are_not_cudas(installed):
    installed(stub_cupy(is_hip=True, driver=60051831, runtime=70051831), "cupy-rocm-7-0")
    assert probe_cupy() is None


# ---------------------------------------------------------------- one state after the other

SEVERAL = [
    (["cupy-cuda12x", "cupy-cuda13x"], "cupy-cuda12x[ctk]"),  # cuda13x may have come by itself
    (["cupy-cuda13x", "cupy-rocm-7-0"], "cupy-rocm-7-0"),
    (["cupy", "cupy-cuda13x"], "cupy-cuda13x[ctk]"),
    (["cupy", "cupy-cuda11x"], "cupy-cuda13x[ctk]"),
]


@pytest.mark.parametrize(("wheels", "kept"), SEVERAL)
def test_two_wheels_are_one_too_many(installed, wheels, kept):
    installed(stub_cupy(), *wheels)
    step = failed("one wheel")
    assert step.seen.endswith(": " + ", ".join(wheels))
    assert step.command == f'pip uninstall -y {" ".join(wheels)} && pip install "{kept}"'


def test_wheels_are_known_by_name(monkeypatch):
    class Distribution:
        def __init__(self, name):
            self.name = name

    names = [
        "CuPy_CUDA12x",
        "cupy-rocm-7-0",
        "cupy",
        "amd-cupy",
        "cupy-cuda12x",
        "cupyx-tools",
        "cupy-xarray",
        None,
    ]
    monkeypatch.setattr(metadata, "distributions", lambda: map(Distribution, names))
    assert probe.wheels() == ["amd-cupy", "cupy", "cupy-cuda12x", "cupy-rocm-7-0"]


def test_cupy_that_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    step = failed("import")
    assert step.seen == probe.NOT_INSTALLED
    assert step.command == 'pip install "xpcnn[cuda13]"'
    assert "xpcnn[cuda12]" in step.sentence.partition("   (")[2]


def test_a_wheel_whose_files_went_with_another(raising):
    raising("raise ModuleNotFoundError('No module', name='cupy')", "cupy-cuda12x")
    step = failed("import")
    assert step.seen == "cupy-cuda12x is installed but its files are gone"
    assert step.command == 'pip install --force-reinstall "cupy-cuda12x[ctk]"'


ADVICE = """
try: raise {cause}
except Exception as error: raise ImportError("\\n====\\nadvice\\n====") from error
"""  # as CuPy words it


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("raise ImportError('libcudart.so.13: absent\\nsecond line')", "ImportError: libcudart.so.13: absent"),
        (ADVICE.format(cause="OSError('libcudart.so.13: absent')"), "OSError: libcudart.so.13: absent"),
        ("import cupy_absent", "ModuleNotFoundError: No module named 'cupy_absent'"),
        ("raise RuntimeError", "RuntimeError"),
        ("raise RuntimeError('\\n  indented')", "RuntimeError: indented"),
    ],
    ids=["first line", "CuPy's page of advice", "a part is missing", "no words", "a blank line"],
)  # fmt: skip
def test_a_cupy_that_does_not_import(raising, line, reason):
    raising(line, "cupy-rocm-7-0")
    step = failed("import")
    assert step.seen == f"CuPy does not import ({reason})"
    assert step.command == 'pip install --force-reinstall "cupy-rocm-7-0"'


@pytest.mark.parametrize(
    "said",
    [
        "numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header, got 88",
        "module compiled against ABI version 0x1000009 but this version of numpy is 0x2000000",
        "module was compiled against NumPy C-API version: module compiled against API version 0x10",
        "_ARRAY_API not found",
        "numpy.core.multiarray failed to import",
        "A module that was compiled using NumPy 1.x cannot be run in NumPy 2.4",
    ],
)
def test_a_cupy_compiled_for_another_numpy(raising, said):
    raising(
        ADVICE.format(cause=f"ValueError({said!r})"),
        "cupy-cuda12x",
    )
    step = failed("NumPy ABI")
    assert step.seen == f"CuPy was compiled for another NumPy than {np.__version__} (ValueError: {said})"
    assert step.command == 'pip install --upgrade "cupy-cuda12x[ctk]" "numpy>=2"'


STATES = [
    ({"driver": 0}, "driver", "CuPy 14.2.0 finds no NVIDIA driver", "nvidia-smi"),
    ({"driver": NO_DRIVER}, "driver", "(CUDARuntimeError: cudaErrorInsufficientDriver: ", "nvidia-smi"),
    ({"driver": 12080}, "driver version", "to CUDA 12.8, and CuPy is for CUDA 13.0",
     f"pip uninstall -y cupy-cuda13x && {CUDA12}"),
    ({"driver": 11040}, "driver version", "to CUDA 11.4, and", "nvidia-smi"),
    ({"runtime": RuntimeError("no libcudart")}, "driver version", "(RuntimeError: no libcudart)", CUDA13),
    ({"devices": 0}, "GPU", "CuPy finds no GPU", "nvidia-smi"),
    ({"devices": NO_DEVICE}, "GPU", "no CUDA-capable device", "nvidia-smi"),
    ({"memory": (GIB // 8, 16 * GIB)}, "free memory", "0.1 of 16.0 GiB", "nvidia-smi"),
    ({"memory": NO_MEMORY}, "free memory", "cudaErrorMemoryAllocation", "nvidia-smi"),
    ({"filled": NO_HEADERS}, "kernel", "cannot open source file cuda_fp16.h", CUDA13),
    ({"filled": NO_NVRTC}, "kernel", "libnvrtc.so.13", CUDA13),
    ({"filled": OLD_GPU}, "kernel", "no longer knows a GPU as old", f"pip uninstall -y cupy-cuda13x && {CUDA12}"),
    ({"filled": (0, 1, 2, 4)}, "kernel", "[0.0, 1.0, 2.0, 4.0]", CUDA13),
    ({"product": NO_CUBLAS}, "cuBLAS", "libcublas.so.13", CUDA13),
    ({"product": 12.0}, "cuBLAS", "got 12.0, not 11", CUDA13),
]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "name", "reason", "command"), STATES, ids=[str(state[0]) for state in STATES]
)
def test_a_step_that_fails_has_its_reason_and_its_command(installed, state, name, reason, command):
    installed(stub_cupy(**state), "cupy-cuda13x")
    step = failed(name)
    assert reason in step.seen
    assert step.command == command


def test_a_driver_is_installed_or_updated_before_it_is_looked_at(installed):
    installed(stub_cupy(driver=0), "cupy-cuda13x")
    assert "; install it, then run: nvidia-smi   (in a container: docker run --gpus all)" in probe_cupy()
    installed(stub_cupy(driver=11040), "cupy-cuda13x")
    assert probe_cupy().endswith("; update the NVIDIA driver, then run: nvidia-smi")


def test_a_quarter_of_a_gibibyte_is_enough(installed):
    installed(stub_cupy(memory=(probe.LEAST_MEMORY, GIB)), "cupy-cuda13x")
    assert probe_cupy() is None
    installed(stub_cupy(memory=(probe.LEAST_MEMORY - 1, GIB)), "cupy-cuda13x")
    assert failed("free memory")


@pytest.mark.parametrize("devices", [0, NO_DEVICE])
def test_gpus_that_the_environment_hides(installed, monkeypatch, devices):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    installed(stub_cupy(devices=devices), "cupy-cuda13x")
    step = failed("GPU")
    assert step.seen.startswith("CUDA_VISIBLE_DEVICES='' hides every GPU")
    assert step.command == "unset CUDA_VISIBLE_DEVICES"


def test_a_folder_for_kernels_that_cannot_be_written(installed):
    installed(stub_cupy(filled=READ_ONLY), "cupy-cuda13x")
    step = failed("kernel")
    assert "'/.cupy'" in step.seen
    assert step.command.startswith("export CUPY_CACHE_DIR=")
    assert os.path.isdir(os.path.dirname(step.command.partition("=")[2]))


@pytest.mark.parametrize(
    ("wheels", "command"),
    [
        (["cupy-cuda12x"], CUDA12),
        ([], CUDA13),
        (
            ["cupy"],
            f"pip uninstall -y cupy && {CUDA13}",
        ),  # built here: it takes none of the wheels' libraries
        (["cupy-cuda11x"], f"pip uninstall -y cupy-cuda11x && {CUDA13}"),
    ],
)
def test_the_command_names_the_wheel_that_is_there(installed, wheels, command):
    for state, name in (({"filled": NO_HEADERS}, "kernel"), ({"product": NO_CUBLAS}, "cuBLAS")):
        installed(stub_cupy(driver=13010, runtime=12090, **state), *wheels)
        assert failed(name).command == command


def test_an_old_gpu_is_no_reason_to_leave_cuda_12(installed):
    installed(stub_cupy(runtime=12090, filled=OLD_GPU), "cupy-cuda12x")
    step = failed("kernel")
    assert step.command == CUDA12
    assert "CUDA 13" not in step.seen


@pytest.mark.parametrize(
    ("state", "name", "command"),
    [
        ({"driver": 0}, "driver", "rocm-smi"),
        ({"devices": 0}, "GPU", "rocm-smi"),
        ({"filled": NO_HEADERS}, "kernel", "sudo apt install rocm"),
        ({"product": NO_CUBLAS}, "cuBLAS", "sudo apt install rocm"),
    ],
)
def test_amd_has_commands_of_its_own(installed, state, name, command):
    installed(stub_cupy(is_hip=True, **state), "cupy-rocm-7-0")
    step = failed(name)
    assert step.command == command
    assert "NVIDIA" not in step.sentence
    assert "--gpus" not in step.sentence


def test_a_gpu_of_amd_that_the_environment_hides(installed, monkeypatch):
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "-1")
    installed(stub_cupy(is_hip=True, devices=0), "cupy-rocm-7-0")
    assert failed("GPU").command == "unset HIP_VISIBLE_DEVICES"


# ---------------------------------------------------------------- the real CuPy


def test_the_real_cupy_without_a_driver():
    cupy = pytest.importorskip("cupy")
    if cupy.cuda.runtime.is_hip or cupy.cuda.runtime.driverGetVersion():
        pytest.skip("there is a driver")
    step = failed("driver")
    assert step.seen == f"CuPy {cupy.__version__} finds no NVIDIA driver"
    first, second, third, *_ = steps()
    assert first.seen in probe.wheels()
    assert (second.seen, third.seen) == (f"CuPy {cupy.__version__}", f"NumPy {np.__version__}")
