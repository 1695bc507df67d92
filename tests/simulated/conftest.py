"""The simulated device, active and without kernels: NumPy's functions are the oracle here."""

import pytest

from xpcnn.backend import use_backend
from xpcnn.compare import running
from xpcnn.simulated.judge import why_no_judge


@pytest.fixture(autouse=True)
def _on_the_device():
    if why_no_judge():
        pytest.skip(why_no_judge())
    with running("simulated:reference"):
        yield


@pytest.fixture
def tuned():
    """The same with its CUDA kernels, where there is a compiler."""
    with use_backend("simulated") as backend:
        yield backend
