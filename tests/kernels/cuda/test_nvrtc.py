"""NVRTC, by CuPy's own hand, accepts the texts: a compiler needs no GPU, only its library and cuda_fp16.h."""

import os
from pathlib import Path

import pytest

from xpcnn.kernels.cuda import source
from xpcnn.kernels.cuda.launch import OPTIONS, macros

FILES = sorted({signature.file for signature in source.signatures().values()})


@pytest.fixture(scope="module")
def compile_text():
    pytest.importorskip("cupy")
    nvidia = pytest.importorskip("nvidia", reason="NVRTC's wheel is not installed", exc_type=ImportError)
    from cupy.cuda import compiler, nvrtc

    try:
        nvrtc.getVersion()
    except Exception as error:
        pytest.skip(f"NVRTC does not load: {error}")
    folders = [folder for root in nvidia.__path__ for folder in Path(root).glob("*/include")]
    folders += [Path(os.environ["CUDA_PATH"], "include")] if "CUDA_PATH" in os.environ else []
    if not any((folder / "cuda_fp16.h").exists() for folder in folders):
        pytest.skip("cuda_fp16.h is not installed")
    includes = tuple(f"-I{folder}" for folder in folders)

    def compile_text(text, options):
        program = compiler._NVRTCProgram(text, "kernel.cu")
        return program.compile((*OPTIONS, *options, *includes, "--gpu-architecture=sm_80"))[0]

    return compile_text


@pytest.mark.parametrize("storage", [16, 32, 64])
@pytest.mark.parametrize("file", FILES)
def test_nvrtc_accepts(compile_text, file, storage):
    assert compile_text(source.text(file), macros(storage))


@pytest.mark.parametrize("file", FILES)
def test_nvrtc_accepts_64_bit_positions(compile_text, file):
    assert compile_text(source.text(file), macros(32, 64))


def test_nvrtc_would_have_refused(compile_text):
    with pytest.raises(Exception, match="no_such_function"):
        compile_text('extern "C" __global__ void k(float* x) { x[0] = no_such_function(1); }', ())
