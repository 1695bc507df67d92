"""What a kernel becomes on a GPU: its PTX, by NVRTC or nvcc, neither of which needs a GPU."""

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from xpcnn.kernels.cuda.launch import OPTIONS

ARCHITECTURE = "80"


@cache
def _nvrtc_folders():
    try:
        import nvidia
        from cupy.cuda import nvrtc

        nvrtc.getVersion()
    except Exception:
        return None
    folders = [folder for root in nvidia.__path__ for folder in Path(root).glob("*/include")]
    folders += [Path(os.environ["CUDA_PATH"], "include")] if "CUDA_PATH" in os.environ else []
    return folders if any((folder / "cuda_fp16.h").exists() for folder in folders) else None


def ptx(text, options):
    """Return the PTX of a kernel's text, or skip the test where neither compiler is installed."""
    options = (*OPTIONS, *options)
    if folders := _nvrtc_folders():
        from cupy.cuda import compiler

        includes = tuple(f"-I{folder}" for folder in folders)
        program = compiler._NVRTCProgram(text, "kernel.cu")
        found = program.compile((*options, *includes, f"--gpu-architecture=compute_{ARCHITECTURE}"))[0]
        return found.decode() if isinstance(found, bytes) else found
    if (nvcc := shutil.which("nvcc")) is None:
        pytest.skip("neither NVRTC nor nvcc is installed")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cu")
        file.write_text(text)
        command = [
            nvcc,
            *options,
            f"-arch=compute_{ARCHITECTURE}",
            "-ptx",
            str(file),
            "-o",
            str(file.with_suffix(".ptx")),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return file.with_suffix(".ptx").read_text()


def check_arithmetic(text, options=()):
    """Assert that a float kernel computes nothing in double, and that divisions and square roots are exact."""
    instructions = [line.strip() for line in ptx(text, options).splitlines()]
    wrong = [line for line in instructions if ".f64" in line and not line.startswith((".reg", "//"))]
    assert not wrong, f"double arithmetic in a float kernel: {wrong[0]}"
    wrong = [
        line
        for line in instructions
        if line.startswith(("div.approx", "div.full", "sqrt.approx", "rsqrt.approx"))
    ]
    assert not wrong, f"an approximation: {wrong[0]}"
