"""Threads: results do not depend on how many there are, and Ctrl-C leaves none behind."""

import ast
import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import xpcnn
from xpcnn import kernels, models
from xpcnn.backend import to_host, use_backend
from xpcnn.geometry import Window
from xpcnn.kernels.cpu import shares, threads
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import Adam, Momentum

THREADS = (1, 2, 3, 16)
needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="Numba is not installed")
ON_NUMPY = pytest.mark.parametrize("choice", ["pure", pytest.param("tuned", marks=needs_numba)])
PACKAGE = Path(xpcnn.__file__).parent


def with_threads(monkeypatch, function):
    """Return what a function returns for each number of threads; whatever work there is, all of them do it."""
    results = []
    for number in THREADS:
        monkeypatch.setattr(threads, "count", lambda number=number: number)
        results.append(function())
    return results


def assert_same_bits(results):
    first, *others = results
    for number, other in zip(THREADS[1:], others, strict=True):
        for name, array in first.items():
            assert array.tobytes() == other[name].tobytes(), f"{name} differs with {number} threads"


# ---------------------------------------------------------------- the same to the bit


@ON_NUMPY
@pytest.mark.parametrize("optimizer", [Momentum, Adam])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("simple", (100, 1, 28, 28)),
        ("lenet5", (100, 1, 28, 28)),
        ("deep", (50, 1, 28, 28)),
        pytest.param("resnet20", (50, 3, 32, 32), marks=pytest.mark.slow),
    ],
)
def test_any_number_of_threads_gives_the_same_weights(monkeypatch, name, shape, optimizer, choice):
    x, t = np.random.default_rng(0).standard_normal(shape).astype("float32"), np.arange(shape[0]) % 10

    def train():
        model, criterion = getattr(models, name)(rng=0), SoftmaxCrossEntropy()
        update = optimizer(model.parameters())
        for _ in range(2):
            loss = criterion(model(x), t)
            model.backward(criterion.backward(), need_dx=False)
            update.step()
        kept = (*model.named_parameters(), *model.named_buffers())
        state = {key: to_host(value.data) for key, value in kept}
        return {**state, "loss": np.asarray(to_host(loss))}

    with use_backend("numpy", choice):
        assert_same_bits(with_threads(monkeypatch, train))


CONVOLUTIONS = [
    # of every way: shifting, unrolling, groups, strides, dilations; large filters over few positions
    ((50, 8, 13, 13), 16, 1, Window(3, 1, 1)),
    ((50, 16, 13, 13), 8, 1, Window(3, 1, 1)),
    ((33, 3, 20, 17), 12, 1, Window(5, 2, "same")),
    ((33, 24, 15, 15), 40, 1, Window(3, 2, 1)),
    ((20, 8, 12, 12), 12, 4, Window(3, 1, 1)),
    ((20, 8, 12, 12), 8, 8, Window((3, 2), (1, 2), 1)),
    ((20, 9, 14, 13), 20, 1, Window(3, 1, 2, 2)),
    ((30, 40, 9, 9), 33, 1, Window(1)),
    ((30, 40, 9, 9), 33, 1, Window(1, 2)),
    ((3, 128, 5, 5), 256, 1, Window(3, 1, 1)),
    ((100, 6, 14, 14), 16, 1, Window(5)),
    ((40, 64, 1, 30), 32, 1, Window((1, 3), 1, (0, 1))),
]


@ON_NUMPY
@pytest.mark.parametrize("workspace", ["", "1", "500000"])
@pytest.mark.parametrize(("shape", "O", "groups", "window"), CONVOLUTIONS)
def test_any_number_of_threads_gives_the_same_convolution(
    monkeypatch, shape, O, groups, window, workspace, choice
):
    monkeypatch.setenv("XPCNN_WORKSPACE", workspace)
    monkeypatch.setattr(threads, "WORTHWHILE", 0)
    rng, substitutes = np.random.default_rng(0), kernels.load("numpy", choice)
    x, weight = rng.standard_normal(shape), rng.standard_normal((O, shape[1] // groups, *window.size))
    bias, dy = rng.standard_normal(O), rng.standard_normal((shape[0], O, *window.output_size(*shape[2:])))
    x, weight, bias, dy = (array.astype("float32") for array in (x, weight, bias, dy))

    def once():
        y = substitutes["conv"](x, weight, bias, window, groups)
        gradients = substitutes["conv_backward"](dy, x, weight, window, groups)
        _, *without_dx = substitutes["conv_backward"](dy, x, weight, window, groups, False)
        names = ("y", "dx", "dweight", "dbias", "dweight without dx", "dbias without dx")
        return dict(zip(names, (y, *gradients, *without_dx), strict=True))

    results = with_threads(monkeypatch, once)
    assert_same_bits(results)
    if "" == workspace:
        for name in ("dweight", "dbias"):
            assert results[0][name].tobytes() == results[0][f"{name} without dx"].tobytes()


@ON_NUMPY
@pytest.mark.parametrize("size", [1, 1000, 1024, 5003, 300_001])
def test_any_number_of_threads_gives_the_same_elements(monkeypatch, size, choice):
    """Also at the ends of what a thread computes, where a compiled loop has no whole vector left."""
    monkeypatch.setattr(threads, "WORTHWHILE", 0)
    substitutes = kernels.load("numpy", choice)
    arrays = np.random.default_rng(0).standard_normal((4, size)).astype("float32")
    rows = np.random.default_rng(1).standard_normal((7, 3, 11, size % 97 + 1)).astype("float32")
    of_channels = np.abs(np.random.default_rng(2).standard_normal((4, 3))).astype("float32")

    def once():
        theta, g, mean, squares = arrays.copy()
        substitutes["adam_update"](theta, g, mean, np.abs(squares), 0.1, (0.9, 0.999), 1e-8, 3)
        substitutes["momentum_update"](theta, g, mean, 0.1, 0.9)
        statistics = substitutes["batch_statistics"](rows)
        normalized = substitutes["batch_norm"](rows, *of_channels, 1e-5)
        gradients = substitutes["batch_norm_backward"](rows[::-1], rows, *of_channels[:3], 1e-5, True)
        pooled, winner = substitutes["max_pool"](rows, Window(3, 2, 1))
        dx = substitutes["max_pool_backward"](pooled, winner, rows.shape[2:], Window(3, 2, 1))
        made = (
            theta,
            mean,
            *statistics,
            normalized,
            *gradients,
            pooled,
            winner,
            dx,
            substitutes["relu"](rows),
        )
        return {f"array {number}": array for number, array in enumerate(made)}

    assert_same_bits(with_threads(monkeypatch, once))


@ON_NUMPY
@pytest.mark.parametrize(
    ("N", "features", "O"), [(100, 4320, 100), (3, 2000, 700), (64, 50, 3000), (1, 9, 4)]
)
def test_any_number_of_threads_gives_the_same_products(monkeypatch, N, features, O, choice):
    monkeypatch.setattr(threads, "WORTHWHILE", 0)
    substitutes, rng = kernels.load("numpy", choice), np.random.default_rng(0)
    shapes = (N, features), (O, features), (O,), (N, O)
    x, weight, bias, dy = (rng.standard_normal(shape).astype("float32") for shape in shapes)

    def once():
        made = substitutes["affine"](x, weight, bias), *substitutes["affine_backward"](dy, x, weight)
        transposed = substitutes["affine_backward"](dy, np.asfortranarray(x), weight)
        return {f"array {number}": array for number, array in enumerate((*made, *transposed))}

    assert_same_bits(with_threads(monkeypatch, once))


@pytest.mark.slow
@ON_NUMPY
def test_processes_with_other_threads_train_the_same_weights(choice):
    """What the tests above replace is set here as a user sets it: for the kernels and, by other names, for BLAS."""
    program = """
import hashlib, numpy as np, xpcnn
from xpcnn import models
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import Momentum
xpcnn.set_backend("numpy")
x = np.random.default_rng(0).standard_normal((100, 1, 28, 28)).astype("float32")
model, criterion = models.simple(rng=0), SoftmaxCrossEntropy()
optimizer = Momentum(model.parameters())
for _ in range(3):
    criterion(model(x), np.arange(100) % 10)
    model.backward(criterion.backward(), need_dx=False)
    optimizer.step()
print(hashlib.sha256(b"".join(p.data.tobytes() for p in model.parameters())).hexdigest())
"""
    found = set()
    for variables in (
        *({"XPCNN_THREADS": str(number)} for number in THREADS),
        {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        {"OPENBLAS_NUM_THREADS": "4", "OMP_NUM_THREADS": "4"},
    ):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XPCNN_", "OMP_"))}
        environment = {**kept, "PYTHONPATH": str(PACKAGE.parent), "XPCNN_KERNELS": choice, **variables}
        command = [sys.executable, "-c", program]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.add(ran.stdout)
    assert len(found) == 1
    assert len(found.pop().strip()) == hashlib.sha256().digest_size * 2


def test_shares_cover_everything_once_whatever_is_asked():
    for length in range(1, 40):
        for number in (0, 1, 5, 12, 99):
            for products in (0, 1 << 40):
                parts = shares.cut(length, number, products)
                assert [i for part in parts for i in range(part.start, part.stop)] == list(range(length))
                assert 1 <= len(parts) <= max(1, min(length, shares.MOST))
                assert products or len(parts) == 1


def test_nothing_that_a_test_replaces_is_imported_by_name():
    """A module that imported the name `count` would keep the old function: that hid a wrong gradient."""
    for file in (*PACKAGE.glob("kernels/cpu/plain/*.py"), *PACKAGE.glob("kernels/cpu/compiled/*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.module not in ("xpcnn.kernels.cpu.threads", "xpcnn.kernels.cpu.shares"), (
                    f"{file.name}, line {node.lineno}: import the module, and say {node.module.split('.')[-1]}.NAME"
                )


# ---------------------------------------------------------------- Ctrl-C


def workers():
    return [thread for thread in threading.enumerate() if thread.name == "xpcnn"]


@pytest.fixture
def three(monkeypatch):
    """Three threads, whatever the work."""
    monkeypatch.setattr(threads, "count", lambda: 3)
    monkeypatch.setattr(threads, "WORTHWHILE", 0)
    threads.in_parallel(lambda start, stop: None, 3)
    return workers()


def test_ctrl_c_in_the_callers_share_ends_no_worker_and_makes_none(three):
    done = []

    def share(start, stop):
        if start == 0:
            raise KeyboardInterrupt
        time.sleep(0.002)
        done.append(start)

    for times in range(1, 201):
        with pytest.raises(KeyboardInterrupt):
            threads.in_parallel(share, 3)
        assert len(done) == 2 * times  # nobody writes any more once the caller goes on
    assert workers() == three


@pytest.mark.skipif(sys.platform == "win32", reason="Windows interrupts no lock")
def test_ctrl_c_at_any_time_leaves_as_many_workers_as_there_were(three):
    """A hundred of them while the caller waits for its workers, and a hundred at random moments of a convolution."""
    released, done = threading.Event(), []

    def share(start, stop):
        if start == 1:
            time.sleep(0.002)
            os.kill(os.getpid(), signal.SIGINT)
        if start:
            released.wait()
            time.sleep(0.001 * start)
        done.append(start)

    for times in range(1, 101):
        timer = threading.Timer(0.004, released.set)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            threads.in_parallel(share, 3)
        assert len(done) == 3 * times  # nobody writes any more once the caller goes on
        timer.join()
        released.clear()
    x, weight = np.ones((8, 16, 24, 24), "float32"), np.ones((16, 16, 3, 3), "float32")
    convolve = kernels.load("numpy", "pure")["conv_backward"]
    wanted = convolve(x, x, weight, Window(3, 1, 1))[1]
    interrupted = 0
    for number in range(100):
        timer = threading.Timer(number * 2e-5, os.kill, (os.getpid(), signal.SIGINT))
        try:
            timer.start()
            while timer.is_alive():
                convolve(x, x, weight, Window(3, 1, 1))
        except KeyboardInterrupt:
            interrupted += 1
        timer.join()
    assert interrupted > 50
    np.testing.assert_array_equal(convolve(x, x, weight, Window(3, 1, 1))[1], wanted)
    assert len(workers()) == len(three)
    seen = set()
    threads.in_parallel(lambda start, stop: (time.sleep(0.01), seen.add(threading.get_ident())), 3)
    assert len(seen) == 3  # and all of them are used


def test_an_exception_of_a_worker_is_raised_after_all_have_ended(three):
    done = []

    def share(start, stop):
        if start == 1:
            raise LookupError("in a worker")
        time.sleep(0.01)
        done.append(start)

    with pytest.raises(LookupError, match="in a worker"):
        threads.in_parallel(share, 3)
    assert sorted(done) == [0, 2]
    assert workers() == three


def test_tasks_in_turn_are_each_done_once(three):
    done = []
    threads.in_turn([lambda number=number: done.append(number) for number in range(50)])
    assert sorted(done) == list(range(50))
    threads.in_turn([])
    with pytest.raises(LookupError):
        threads.in_turn([[].copy, {}.popitem, [].copy])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_workers_of_its_own(three):
    child = os.fork()
    if not child:
        done = []
        threads.in_parallel(lambda start, stop: done.append(start), 3)
        os._exit(0 if sorted(done) == [0, 1, 2] and len(workers()) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
