"""Every test runs on every backend that works on this machine; each begins on NumPy and leaves nothing behind."""

import importlib.util

import pytest
from hypothesis import HealthCheck, settings

from xpcnn import backend as backends
from xpcnn.backend import use_backend
from xpcnn.backend._probe import probe_cupy
from xpcnn.simulated.judge import why_no_judge

# by name: why it cannot run here, or None
BACKENDS = {"numpy": None, "simulated": why_no_judge(), "cupy": probe_cupy()}

settings.register_profile(
    "xpcnn",
    deadline=None,  # a busy machine is not a bug
    max_examples=25,
    derandomize=True,  # the same examples everywhere; tools/fuzz_kernels.py is what looks further
    database=None,  # nor may they depend on what an earlier run found
    # `backend` is set up once for all examples of a test: that is what is wanted.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("xpcnn")


collect_ignore = ["fixtures"]  # data, and the scripts that made it
if importlib.util.find_spec("torch") is None:
    collect_ignore += ["torch_networks.py"]


def pytest_report_header():
    return [f"backend {name}: {why_not or 'usable'}" for name, why_not in BACKENDS.items()]


# ---------------------------------------------------------------- other libraries to compare with


def _peer(name):
    """Return the fixture that is a library: a test that asks for it is left out where that is not installed."""

    @pytest.fixture(scope="session", name=name)
    def library():
        return pytest.importorskip(name)

    return library


PEERS = ("torch", "onnxruntime", "onnxscript")
torch, onnxruntime, onnxscript = map(_peer, PEERS)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if set(PEERS) & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.peers)


# ---------------------------------------------------------------- backends


@pytest.fixture(autouse=True)
def _begin_on_numpy(monkeypatch):
    monkeypatch.setattr(
        backends._current, "_default", backends._current._default
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
