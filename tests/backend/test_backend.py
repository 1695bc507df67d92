import asyncio
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
from xpcnn import backend
from xpcnn.backend import (
    NAMES,
    Backend,
    accelerated,
    active_backend,
    check_array,
    register_backend,
    set_backend,
    to_device,
    to_host,
    use_backend,
    xp,
)
from xpcnn.backend import _probe as probe
from xpcnn.errors import BackendError, DtypeError
from xpcnn.simulated.judge import why_no_judge


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """Each test begins without a choice and without XPCNN_BACKEND; whatever it opened is forgotten at its end."""
    monkeypatch.setattr(backend._current, "_default", None)
    monkeypatch.setattr(backend._registry, "_opened", {})
    openers = dict(backend._registry._OPENERS)
    monkeypatch.delenv("XPCNN_BACKEND", raising=False)
    token = backend._current._chosen.set(None)
    yield
    backend._current._chosen.reset(token)
    backend._registry._OPENERS.clear()
    backend._registry._OPENERS.update(openers)


@pytest.fixture
def stub(monkeypatch):
    """A backend "stub" with a memory of its own, which counts how often it is opened."""
    module = ModuleType("stub")
    module.ndarray, module.where_am_i = DeviceArray, "on the stub"
    uploads = []

    def upload(array):
        uploads.append(array)
        return array if isinstance(array, DeviceArray) else DeviceArray(array)

    @register_backend("stub")
    def open_stub():
        return Backend("stub", module, DeviceArray, upload, DeviceArray.get, lambda: waits.append(1), True)

    waits.clear()
    return "stub"


waits = []
"""Filled by whoever waits for the stub."""


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
    monkeypatch.setattr(backend._openers, "probe_cupy", lambda: "the GPU is at lunch; run: coffee")
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
    set_backend(stub)
    xpcnn.synchronize()
    assert waits == [1]


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


# ---------------------------------------------------------------- kernels as a choice


def modules_of(active):
    return {kernel.__module__.replace(".cpu.", ".").split(".")[2] for kernel in active.kernels.values()}


@pytest.mark.parametrize("variable", [None, "reference", "pure"])
def test_the_choice_of_kernels_is_an_argument_that_wins_over_the_environment(monkeypatch, variable):
    if variable:
        monkeypatch.setenv("XPCNN_KERNELS", variable)
    else:
        monkeypatch.delenv("XPCNN_KERNELS", raising=False)
    with use_backend("numpy", kernels="reference") as active:
        assert active.kernels == {}
    with use_backend("numpy", kernels="pure") as active:
        assert modules_of(active) == {"plain"}
    with use_backend("numpy", kernels="tuned") as tuned, use_backend("numpy", "tuned") as again:
        assert {"plain"} <= modules_of(tuned) <= {"plain", "compiled"}
        assert tuned is again
    with use_backend("numpy") as active:
        assert len(active.kernels) == (0 if variable == "reference" else len(tuned.kernels))
    assert set_backend("numpy", kernels="reference").kernels == {}
    assert active_backend().kernels == {}


def test_opening_the_reference_loads_no_kernels_and_leaves_blas_alone():
    program = (
        "import sys, xpcnn; from threadpoolctl import threadpool_info; import numpy\n"
        "blas = lambda: [x['num_threads'] for x in threadpool_info() if x['user_api'] == 'blas']\n"
        "before = blas(); xpcnn.set_backend('numpy', kernels='reference')\n"
        "assert blas() == before; assert not any('kernels.num' in name for name in sys.modules)"
    )
    folder = os.path.dirname(os.path.dirname(xpcnn.__file__))
    environment = {name: value for name, value in os.environ.items() if name != "XPCNN_KERNELS"}
    subprocess.run([sys.executable, "-c", program], env={**environment, "PYTHONPATH": folder}, check=True)


@pytest.mark.parametrize("choose", [set_backend, lambda *args: use_backend(*args).__enter__()])
def test_an_unknown_choice_of_kernels_as_an_argument_is_refused(choose):
    with pytest.raises(BackendError, match="kernels 'fast' are unknown; pass one of: tuned, pure, reference"):
        choose("numpy", "fast")


def test_a_backend_itself_may_be_used():
    own = Backend("own", np, np.ndarray, np.asarray, np.asarray, kernels={"halve": lambda x, by=2: "own"})
    with use_backend(own) as active:
        assert active is own
        assert halve(6) == "own"
        with use_backend(own, kernels="reference"):
            assert halve(6) == 3
        assert halve(6) == "own"
    assert halve(6) == 3


# ---------------------------------------------------------------- registration


def registered(name="mine", **fields):
    @register_backend(name)
    def open_mine():
        return Backend(name, np, np.ndarray, upload=np.asarray, download=np.asarray, **fields)

    return open_mine


def test_a_third_party_s_backend_trains_a_step():
    """Its arrays and its kernel; neither is known to any line of the package."""
    from xpcnn import models
    from xpcnn.losses import SoftmaxCrossEntropy
    from xpcnn.optimizers import Adam

    class Mine(np.ndarray):
        pass

    def mine(function):
        def call(*args, **kwargs):
            result = function(*args, **kwargs)
            return result.view(Mine) if type(result) is np.ndarray else result

        return call

    class Module(ModuleType):
        ndarray = Mine

        def __getattr__(self, name):
            value = getattr(np, name)
            return mine(value) if callable(value) and not isinstance(value, type) else value

    calls = []

    def relu(x):
        calls.append(type(x))
        return np.maximum(x, 0)

    @register_backend("mine")
    def open_mine():
        return Backend(
            "mine", Module("mine"), Mine, upload=lambda x: np.asarray(x).view(Mine),
            download=lambda x: np.asarray(x), kernels={"relu": relu},
        )  # fmt: skip

    assert "mine" in NAMES

    def step():
        model, criterion = models.simple(rng=0), SoftmaxCrossEntropy()
        optimizer = Adam(model.parameters())
        x = to_device(np.random.default_rng(1).standard_normal((4, 1, 28, 28), np.float32))
        loss = criterion(model(x), to_device(np.arange(4)))
        model.backward(criterion.backward())
        optimizer.step()
        return float(loss), to_host(optimizer.data).copy()

    with use_backend("mine"):
        found = step()
        assert calls
        assert set(calls) == {Mine}
    with use_backend("mine", kernels="reference"):
        calls.clear()
        step()
        assert not calls
    with use_backend("numpy", kernels="reference"):
        expected = step()
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5, atol=1e-6)


def test_ours_are_registered_the_same_way():
    assert list(NAMES) == ["numpy", "cupy", "simulated", "auto"]
    assert backend._registry._OPENERS["numpy"]().ndarray is np.ndarray


def test_a_cell_that_registers_again_replaces_its_own():
    registered(remark="first")
    assert set_backend("mine").remark == "first"
    registered(remark="second")
    assert set_backend("mine").remark == "second"


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(
        BackendError, match=r"'numpy' is taken by xpcnn\.backend\._openers\._numpy; pass another name"
    ):
        registered("numpy")
    registered()

    def another():
        raise AssertionError

    with pytest.raises(BackendError, match=r"'mine' is taken by .*open_mine; pass another name"):
        register_backend("mine")(another)


@pytest.mark.parametrize("name", ["", "cupy:1", "Mine", "my backend", "1st", "a.b"])
def test_a_name_that_no_option_could_hold_is_refused(name):
    with pytest.raises(BackendError, match=r"expected a name of lower-case letters, .*; rename it"):
        registered(name)


def test_an_opener_that_returns_something_else_is_named():
    register_backend("mine")(lambda: np)
    with pytest.raises(BackendError, match=r"mine: its opener returned module; return an xpcnn\.backend\.Ba"):
        set_backend("mine")


def test_a_package_s_entry_point_is_found_by_name(tmp_path):
    """XPCNN_BACKEND and --backend know what is installed, without an import."""
    (tmp_path / "party.py").write_text(
        "import numpy as np\nfrom xpcnn.backend import Backend, register_backend\n"
        "@register_backend('third')\ndef opened():\n"
        "    return Backend('third', np, np.ndarray, upload=np.asarray, download=np.asarray)\n"
    )
    info = tmp_path / "party-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[xpcnn.backends]\nthird = party\n")
    folder = os.path.dirname(os.path.dirname(xpcnn.__file__))
    environment = {
        **os.environ,
        "XPCNN_BACKEND": "third",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), folder]),
    }
    program = (
        "import xpcnn.backend as b; print(b.xp); "
        "from xpcnn.commands.command_line import backend_name as n; n('third')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "<xp: third>\n"


# ---------------------------------------------------------------- one of several devices


@pytest.fixture
def two_gpus(install):
    """A CuPy with two GPUs, and the list of the devices that were selected."""
    module, current = stub_cupy(devices=2), [0]
    module.cuda.runtime.getDevice = lambda: current[-1]
    module.cuda.runtime.setDevice = current.append
    module.zeros = lambda shape: DeviceArray([current[-1]])
    module.asarray = lambda values: DeviceArray([current[-1]])
    install(module)
    return current


def test_cupy_1_computes_on_the_second_gpu_and_leaves_the_first_current(two_gpus):
    with use_backend("cupy:1") as chosen:
        assert (chosen.name, chosen.device) == ("cupy:1", 1)
        assert to_device(np.ones(3)).get().tolist() == [1]
        assert xp.zeros(1).get().tolist() == [1]
        two_gpus.append(0)  # another task's or library's choice
        assert xp.zeros(1).get().tolist() == [1]
        two_gpus.append(0)
        assert to_device(np.ones(3)).get().tolist() == [1]
        two_gpus.append(0)
        assert two_gpus_seen(two_gpus) == 1
        with use_backend("cupy:0"):
            assert xp.zeros(1).get().tolist() == [0]
        assert two_gpus[-1] == 1
    assert two_gpus[-1] == 0
    with use_backend("cupy"):
        assert xp.zeros(1).get().tolist() == [0]


def two_gpus_seen(current):
    @accelerated
    def device():
        return current[-1]

    return device()


def test_set_backend_selects_the_device_too(two_gpus):
    set_backend("cupy:1")
    assert two_gpus[-1] == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cupy:2", "cupy:2 cannot run here: there are 2 devices, numbered from 0; write one of: cupy:0, cupy:1"),
        ("numpy:1", "numpy:1 cannot run here: numpy has one device; write numpy"),
        ("cupy:", "'cupy:' is unknown"),
        ("cupy:-1", "'cupy:-1' is unknown"),
        ("cupy:one", "'cupy:one' is unknown"),
        ("opencl:1", "'opencl:1' is unknown"),
    ],
)  # fmt: skip
def test_a_device_that_is_not_there_is_named(two_gpus, name, message):
    with pytest.raises(BackendError, match=re.escape(message)):
        set_backend(name)
    assert two_gpus[-1] == 0


needs_the_device = pytest.mark.skipif(why_no_judge() is not None, reason=str(why_no_judge()))


@needs_the_device
def test_the_second_simulated_device_has_arrays_of_its_own():
    with use_backend("simulated:0"):
        x = to_device(np.ones(3, np.float32))
    with use_backend("simulated:1"):
        y = to_device(np.ones(3, np.float32))
        with pytest.raises(ValueError, match="array device = 0 while current = 1"):
            y + x
        with (
            use_backend("simulated:0"),
            pytest.raises(ValueError, match="array device = 1 while current = 0"),
        ):
            xp.exp(y)
        assert to_host(y + to_device(to_host(x))).tolist() == [2, 2, 2]
    with use_backend("simulated"):
        assert to_host(x + x).tolist() == [2, 2, 2]
    with pytest.raises(BackendError, match=r"there are 2 devices.*simulated:0, simulated:1"):
        set_backend("simulated:2")


@needs_the_device
def test_tasks_on_two_simulated_devices_take_turns():
    async def run(turn, name):
        with use_backend(name):
            x = to_device(np.ones(3, np.float32))
            for _ in range(3):
                await turn()
                x = xp.add(x, x)
            return to_host(x).tolist()

    async def together():
        barrier = asyncio.Barrier(2)
        return await asyncio.gather(run(barrier.wait, "simulated:0"), run(barrier.wait, "simulated:1"))

    assert asyncio.run(together()) == [[8.0] * 3] * 2


@needs_the_device
def test_a_network_trains_on_the_second_simulated_device():
    from xpcnn import models
    from xpcnn.losses import SoftmaxCrossEntropy
    from xpcnn.optimizers import Momentum

    weights = []
    for name in ("simulated:0", "simulated:1"):
        with use_backend(name):
            model, criterion = models.lenet5(rng=0), SoftmaxCrossEntropy()
            optimizer = Momentum(model.parameters())
            x = to_device(np.random.default_rng(0).standard_normal((2, 1, 28, 28), np.float32))
            criterion(model(x), to_device(np.arange(2)))
            model.backward(criterion.backward(), need_dx=False)
            optimizer.step()
            weights.append(to_host(optimizer.data))
    np.testing.assert_array_equal(*weights)
