"""The ops are tested twice: with the kernels of the backend, and as the reference."""

import pytest

from xpcnn.backend import active_backend, use_backend


@pytest.fixture(autouse=True, params=["tuned", "reference"])
def _kernels(request):
    if "backend" in request.fixturenames:
        request.getfixturevalue("backend")  # it chooses first
    with use_backend(active_backend(), "reference" if request.param == "reference" else None):
        yield
