"""Every test runs on every backend that works on this machine; each begins on NumPy and leaves nothing behind."""

import os

import pytest
from hypothesis import HealthCheck, settings

from xpcnn import backend as backends
from xpcnn.backend import probe_cupy, use_backend
from xpcnn.simulated.judge import why_no_judge

# by name: why it cannot run here, or None
BACKENDS = {"numpy": None, "simulated": why_no_judge(), "cupy": probe_cupy()}

settings.register_profile(
    "xpcnn",
    deadline=None,  # a busy machine is not a bug
    max_examples=25,
    derandomize="CI" in os.environ,
    # `backend` is set up once for all examples of a test: that is what is wanted.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("xpcnn")


collect_ignore = ["fixtures"]  # data, and the scripts that made it


def pytest_report_header():
    return [f"backend {name}: {why_not or 'usable'}" for name, why_not in BACKENDS.items()]


@pytest.fixture(autouse=True)
def _begin_on_numpy(monkeypatch):
    monkeypatch.setattr(
        backends, "_default", backends._default
    )  # a test that sets the process's default keeps it
    with use_backend("numpy"):
        yield


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.gpu if name == "cupy" else ())
        for name, why_not in BACKENDS.items()
        if why_not is None
    ]
)
def backend(request):
    """The active backend: each usable one in turn."""
    with use_backend(request.param) as active:
        yield active
