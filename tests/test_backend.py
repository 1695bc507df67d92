import inspect
import os
import re
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from stub_cupy import DeviceArray, stub_cupy

import xpcnn
from xpcnn import backend, probe
from xpcnn.backend import (
    NAMES,
    Backend,
    accelerated,
    active_backend,
    check_array,
    set_backend,
    to_device,
    to_host,
    use_backend,
    xp,
)
from xpcnn.errors import BackendError, DtypeError


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """Each test begins without a choice and without XPCNN_BACKEND; whatever it opened is forgotten at its end."""
    monkeypatch.setattr(backend, "_active", None)
    monkeypatch.delenv("XPCNN_BACKEND", raising=False)
    backend._open.cache_clear()
    yield
    backend._open.cache_clear()


@pytest.fixture
def stub(monkeypatch):
    """A backend "stub" with a memory of its own, which counts how often it is opened."""
    module = ModuleType("stub")
    module.ndarray, module.where_am_i = DeviceArray, "on the stub"
    uploads = []

    def upload(array):
        uploads.append(array)
        return array if isinstance(array, DeviceArray) else DeviceArray(array)

    def open_stub():
        waits = []
        device = Backend("stub", module, DeviceArray, upload, DeviceArray.get, lambda: waits.append(1), True)
        return SimpleNamespace(**vars(device), waits=waits, uploads=uploads)

    monkeypatch.setitem(backend._OPENERS, "stub", open_stub)
    return "stub"


# ---------------------------------------------------------------- choosing


def test_numpy_is_the_default():
    assert active_backend().name == "numpy"
    assert active_backend().module is np


def test_the_environment_is_read_when_the_backend_is_first_asked_for(monkeypatch, stub):
    monkeypatch.setenv("XPCNN_BACKEND", "stub")
    assert active_backend().name == "stub"


def test_an_empty_environment_variable_is_the_default(monkeypatch):
    monkeypatch.setenv("XPCNN_BACKEND", "")
    assert active_backend().name == "numpy"


def test_set_backend_wins_over_the_environment(monkeypatch, stub):
    monkeypatch.setenv("XPCNN_BACKEND", "cupy")
    assert set_backend(stub).name == "stub"
    assert active_backend().name == "stub"


def test_the_package_offers_the_same_functions():
    assert xpcnn.set_backend is set_backend
    assert xpcnn.use_backend is use_backend


@pytest.mark.parametrize("choose", [set_backend, lambda name: use_backend(name).__enter__()])
def test_an_unknown_name_is_refused_with_the_known_ones(choose):
    with pytest.raises(BackendError, match=rf"'opencl' is unknown.*{', '.join(NAMES)}"):
        choose("opencl")


def test_an_unknown_name_in_the_environment_is_refused(monkeypatch):
    monkeypatch.setenv("XPCNN_BACKEND", "opencl")
    with pytest.raises(
        BackendError, match=rf"'opencl' is unknown; set XPCNN_BACKEND to one of: {', '.join(NAMES)}"
    ):
        xp.zeros(3)


def test_after_a_failed_choice_the_active_backend_stays(stub):
    set_backend(stub)
    with pytest.raises(BackendError):
        set_backend("opencl")
    assert active_backend().name == "stub"


def test_there_is_no_silent_fall_back(monkeypatch):
    monkeypatch.setattr(backend, "probe_cupy", lambda: "the GPU is at lunch; run: coffee")
    set_backend("numpy")
    for choose in (lambda: set_backend("cupy"), lambda: use_backend("cupy").__enter__()):
        with pytest.raises(BackendError, match="cannot run here: the GPU is at lunch; run: coffee"):
            choose()
    assert active_backend().name == "numpy"


def test_nested_blocks_restore_what_was_before(stub):
    set_backend("numpy")
    with use_backend(stub):
        with use_backend("numpy") as inner:
            assert active_backend() is inner
            assert inner.name == "numpy"
        assert active_backend().name == "stub"
        with pytest.raises(BackendError), use_backend("opencl"):
            pass
        assert active_backend().name == "stub"
    assert active_backend().name == "numpy"


def test_a_block_that_fails_restores_too(stub):
    set_backend("numpy")
    with pytest.raises(KeyError), use_backend(stub):
        raise KeyError
    assert active_backend().name == "numpy"


def test_a_block_before_any_choice_leaves_the_environment_in_charge(monkeypatch, stub):
    monkeypatch.setenv("XPCNN_BACKEND", stub)
    with use_backend("numpy"):
        assert active_backend().name == "numpy"
    assert active_backend().name == "stub"


def test_xp_is_never_stale(stub):
    from xpcnn.backend import xp as imported_before

    set_backend("numpy")
    assert imported_before.ndarray is np.ndarray
    with use_backend(stub):
        assert imported_before.where_am_i == "on the stub"
        assert repr(imported_before) == "<xp: stub>"
        with pytest.raises(AttributeError):
            imported_before.zeros  # noqa: B018
    assert imported_before.zeros is np.zeros


def test_synchronize_waits_for_the_active_device(stub):
    device = set_backend(stub)
    xpcnn.synchronize()
    assert device.waits == [1]


# ---------------------------------------------------------------- CuPy


@pytest.fixture
def install(monkeypatch):
    """Put a module in CuPy's place."""

    def put(module):
        monkeypatch.setitem(sys.modules, "cupy", module)
        monkeypatch.setattr(probe, "wheels", lambda: ["cupy-cuda13x"])
        # a substitute kernel would need the real CuPy: not what is tried here
        monkeypatch.setenv("XPCNN_KERNELS", "reference")

    return put


def test_a_cupy_that_works_becomes_active_and_auto_takes_it(install, capsys):
    install(stub_cupy())
    with use_backend("cupy") as chosen:
        assert chosen.module is sys.modules["cupy"]
        assert isinstance(to_device(np.ones(3)), DeviceArray)
        xpcnn.synchronize()
    assert set_backend("auto").name == "cupy"
    assert "backend cupy" in capsys.readouterr().err


def test_auto_takes_numpy_where_cupy_does_not_work_and_says_why(install, capsys):
    install(stub_cupy(devices=0))
    assert set_backend("auto").name == "numpy"
    captured = capsys.readouterr()
    assert "backend numpy (CuPy finds no GPU" in captured.err
    assert captured.out == ""  # a script's --json goes there


def test_in_a_process_of_its_own_xpcnn_backend_cupy_is_one_clear_error(tmp_path):
    """Whatever this machine has: here CuPy is a module that is not there."""
    (tmp_path / "cupy.py").write_text("raise ModuleNotFoundError(\"No module named 'cupy'\", name='cupy')")
    folder = os.path.dirname(os.path.dirname(xpcnn.__file__))
    environment = {
        **os.environ,
        "XPCNN_BACKEND": "cupy",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), folder]),
    }
    code = "from xpcnn.models import simple; simple(rng=0)"
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    last = ran.stderr.strip().splitlines()[-1]
    assert re.fullmatch(
        r"xpcnn\.errors\.BackendError: backend cupy cannot run here: .*; run: pip install .*", last
    )


# ---------------------------------------------------------------- crossing between host and device


def test_on_numpy_to_device_and_to_host_copy_nothing():
    x = np.ones(3)
    assert to_device(x) is x
    assert to_host(x) is x


@pytest.mark.parametrize("value", [[1.0, 2.0], (1, 2), np.float32(2), 3])
def test_lists_and_numbers_are_uploaded(stub, value):
    np.testing.assert_array_equal(to_device(value), np.asarray(value))
    with use_backend(stub):
        on_device = to_device(value)
        assert isinstance(on_device, DeviceArray)
        np.testing.assert_array_equal(to_host(on_device), np.asarray(value))


def test_an_array_of_the_active_device_is_handed_to_it_as_it_is(stub):
    with use_backend(stub):
        x = DeviceArray([1, 2])
        assert to_device(x) is x


def test_to_device_refuses_an_array_of_another_device_with_the_call_that_mends_it():
    set_backend("numpy")
    with pytest.raises(BackendError) as caught:
        to_device(DeviceArray([1]))
    assert "got a stub array, but the active backend is numpy" in str(caught.value)
    assert "to_device(to_host(x))" in str(caught.value)
    assert "set_backend('stub')" in str(caught.value)


def test_to_host_takes_an_array_of_any_device(stub):
    assert to_host(DeviceArray([1, 2])).tolist() == [1, 2]  # numpy is active
    with use_backend(stub):
        assert to_host(DeviceArray([1, 2])).tolist() == [1, 2]
        assert to_host(np.ones(2)).tolist() == [1, 1]
    assert isinstance(to_host(np.float32(1)), np.ndarray)
    assert to_host([1, 2]).tolist() == [1, 2]


def test_check_array_takes_arrays_of_the_active_backend_only(stub):
    check_array(np.ones(1), "Conv")
    with pytest.raises(
        BackendError, match=r"^Conv: got a stub array, but the active backend is numpy; pass to_dev"
    ):
        check_array(DeviceArray([1]), "Conv")
    with use_backend(stub):
        check_array(DeviceArray([1]), "Conv")
        with pytest.raises(
            BackendError, match=r"^Conv: got a numpy array.*is stub; pass to_device\(x\), or call"
        ):
            check_array(np.ones(1), "Conv")


@pytest.mark.parametrize("value", [[1.0], (1.0,), 1.0, np.float32(1), "x", None])
def test_check_array_refuses_what_is_no_array(value):
    with pytest.raises(
        DtypeError, match=rf"^Conv: expected a numpy.ndarray, got {type(value).__name__}; pass to_dev"
    ):
        check_array(value, "Conv")


# ---------------------------------------------------------------- substitutes


@accelerated
def halve(x, by=2):
    """Return x / by."""
    return x / by


def test_an_accelerated_op_keeps_name_doc_and_signature():
    assert halve.__name__ == "halve"
    assert halve.__doc__ == "Return x / by."
    assert str(inspect.signature(halve)) == "(x, by=2)"
    assert halve.__wrapped__(6) == 3


def test_a_substitute_runs_on_its_own_backend_only(stub):
    with use_backend(stub) as device:
        assert halve(6) == 3
        device.kernels["halve"] = lambda x, by=2: ("substitute", x, by)
        assert halve(6, by=3) == ("substitute", 6, 3)
        assert halve.__wrapped__(6, by=3) == 2
        with use_backend("numpy"):
            assert halve(6) == 3


def test_substitutes_come_from_the_module_named_as_the_backend(monkeypatch):
    from xpcnn import kernels

    module = ModuleType("xpcnn.kernels.stub")
    module.SUBSTITUTES = {"conv": len}
    module.__spec__ = SimpleNamespace(name=module.__name__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delenv("XPCNN_KERNELS", raising=False)
    assert kernels.load("stub") == {"conv": len}
    assert kernels.load("stub") is not module.SUBSTITUTES
    assert kernels.load("there_is_no_such_module") == {}
    monkeypatch.setenv("XPCNN_KERNELS", "reference")
    assert kernels.load("stub") == {}


def test_an_unknown_choice_of_kernels_is_refused(monkeypatch):
    monkeypatch.setenv("XPCNN_KERNELS", "fast")
    with pytest.raises(
        BackendError, match=r"XPCNN_KERNELS='fast' is unknown; set it to one of: tuned, pure, reference"
    ):
        set_backend("numpy")
