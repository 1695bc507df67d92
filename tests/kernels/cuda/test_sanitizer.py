"""Out of bounds: in a build with the address sanitizer, in a process of its own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from xpcnn.errors import KernelError
from xpcnn.simulated.cuda.build import sanitizer_environment

TESTS = Path(__file__).parents[2]
FAULT = 99  # the exit status that sanitizer_environment() asks for


@pytest.fixture
def sanitized(compiler):
    try:
        environment = sanitizer_environment()
    except KernelError as error:
        pytest.skip(str(error))

    environment["PYTHONPATH"] = os.pathsep.join([str(TESTS), *filter(None, sys.path)])

    def run(program):
        command = [sys.executable, "-c", textwrap.dedent(program)]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    if run("print(1)").returncode:
        pytest.skip("the address sanitizer does not run in this Python")
    return run


PROGRAM = """
    import numpy as np
    from xpcnn.simulated.cuda import RawModule
    code = '''extern "C" __global__ void k(float* x, int n) {{
        __shared__ float s[64];
        {before}
        const int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i {less} n) x[i] = 1;
    }}'''
    x = np.zeros(5000, np.float32)
    RawModule(code=code).get_function("k")((100,), (64,), (x, np.int32(x.size)))
    print("through", x.sum())
"""


@pytest.mark.parametrize("before", ["", "s[threadIdx.x] = 1; __syncthreads();"])
def test_an_element_too_many(sanitized, before):
    done = sanitized(PROGRAM.format(before=before, less="<"))
    assert (done.returncode, done.stdout) == (0, "through 5000.0\n"), done.stderr
    done = sanitized(PROGRAM.format(before=before, less="<="))
    assert done.returncode == FAULT
    assert "heap-buffer-overflow" in done.stderr


@pytest.mark.slow
def test_the_kernels_stay_within_bounds(sanitized):
    done = sanitized("from cuda_examples import check; check(); print('through')")
    assert (done.returncode, done.stdout) == (0, "through\n"), done.stderr
