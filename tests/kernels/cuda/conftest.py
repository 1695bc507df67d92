"""The CUDA kernels on the CPU, over plain NumPy arrays, and on a GPU where there is one."""

import os

import numpy as np
import pytest
from cuda_examples import WHY_NOT, host_module

from xpcnn.backend._probe import probe_cupy

NO_GPU = probe_cupy()


@pytest.fixture(scope="session")
def compiler():
    """Tests that compile kernels for the CPU ask for this one."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)


@pytest.fixture(params=["simulated", *([] if NO_GPU else [pytest.param("cupy", marks=pytest.mark.gpu)])])
def where(request):
    """An array module to launch kernels on, and how arrays get there and back: keywords of `check`."""
    if request.param == "cupy":
        import cupy

        if os.environ.get("XPCNN_GPU_POOL") == "off":
            cupy.cuda.set_allocator(None)  # each array by itself, for compute-sanitizer to see its end
        return {"module": cupy, "upload": cupy.asarray, "download": cupy.asnumpy}
    request.getfixturevalue("compiler")
    return {"module": host_module, "upload": np.copy, "download": np.asarray}
