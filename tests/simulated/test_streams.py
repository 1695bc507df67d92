"""Two streams: what is ordered, what is not, and a download that nobody waited for."""

import inspect
import threading

import numpy as np
import pytest
from simulated.conftest import planted

from xpcnn import models, training
from xpcnn.backend import synchronize, to_device, to_host, use_backend, xp
from xpcnn.errors import BackendError, DivergenceError
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import SGD
from xpcnn.simulated import judge, ledger
from xpcnn.simulated.launches import RaceError


def stream(non_blocking=True):
    return xp.cuda.Stream(non_blocking=non_blocking)


@pytest.fixture
def x():
    x = to_device(np.arange(6, dtype=np.float32).reshape(2, 3))
    synchronize()
    return x


# ---------------------------------------------------------------- what is a race

USES = {
    "read": lambda x: x + 1,
    "read by a product": lambda x: x @ x.T,
    "read by einsum": lambda x: xp.einsum("ij->i", x),
    "read by pad": lambda x: xp.pad(x, 1),
    "read by a reduction": lambda x: x.sum(axis=0),
    "read by a function": lambda x: xp.concatenate([x, x]),
    "read by index": lambda x: x[to_device(np.array([1, 0]))],
    "read as an index": lambda x: xp.zeros((9, 9))[x.astype(int)],
    "read as a value": lambda x: xp.zeros((2, 3), np.float32).__setitem__(..., x),
    "read by a copy": lambda x: x.copy(),
    "download": to_host,
    "float": lambda x: float(x[1, 2]),
    "written": lambda x: x.__iadd__(1),
    "filled": lambda x: x.fill(2.0),
    "assigned": lambda x: x.__setitem__(0, 2.0),
    "sorted": lambda x: x.sort(),
    "out": lambda x: xp.exp(xp.ones((2, 3), np.float32), out=x),
    "set": lambda x: x.set(np.ones((2, 3), np.float32)),
    "read through a view": lambda x: x.reshape(3, 2).T[1:] * 2,
}
WRITES = {"written", "filled", "assigned", "sorted", "out", "set"}


@pytest.mark.parametrize("second", USES)
@pytest.mark.parametrize("first", ["read", "written", "set", "download"])
def test_two_uses_of_which_one_writes_must_be_ordered(x, first, second):
    with stream():
        USES[first](x)
    if first == "download" or (first == "read" and second not in WRITES):
        USES[second](x)  # the host has waited; or two read
        return
    with pytest.raises(
        RaceError, match=r"in the null stream, an array that .* in stream \d+, and nothing orders"
    ):
        USES[second](x)


ORDERS = {
    "an event": lambda a: xp.cuda.Stream.null.wait_event(a.record()),
    "an event of one's own": lambda a: (e := xp.cuda.Event(), e.record(a), xp.cuda.Stream.null.wait_event(e)),
    "a wait for the event": lambda a: a.record().synchronize(),
    "an event that is done": lambda a: a.record().done,
    "a wait for the stream": lambda a: a.synchronize(),
    "a stream that is done": lambda a: a.done,
    "a wait for the device": lambda a: xp.cuda.runtime.deviceSynchronize(),
}


@pytest.mark.parametrize("order", ORDERS)
def test_what_orders_two_streams(x, order):
    a = stream()
    with a:
        x += 1
    ORDERS[order](a)
    x += 1
    assert x.tolist() == [[2, 3, 4], [5, 6, 7]]


def test_an_event_orders_what_came_before_it_only(x):
    a = stream()
    with a:
        x += 1
        recorded = a.record()
        x += 1
    xp.cuda.Stream.null.wait_event(recorded)
    with pytest.raises(RaceError, match="add at simulated/test_streams"):
        x + 1


def test_order_is_handed_on_from_stream_to_stream(x):
    a, b = stream(), stream()
    with a:
        x += 1
    b.wait_event(a.record())
    with b:
        to_device(np.ones(1))
    xp.cuda.Stream.null.wait_event(b.record())
    x += 1


def test_the_null_stream_waits_for_blocking_streams_and_they_for_it(x):
    a, b = stream(non_blocking=False), stream(non_blocking=False)
    with a:
        x += 1
    x += 1
    with a:
        x += 1
    with b, pytest.raises(RaceError, match=r"in stream \d+, an array that add at .* in stream \d+"):
        x + 1


def test_parts_of_an_array_that_do_not_overlap_may_be_used_at_once(x):
    with stream():
        x[0] += 1
        x[1, ::2] += 1
    x[1, 1] += 1  # between the two of a strided view
    with pytest.raises(RaceError):
        x[1, 1:] += 1


def test_a_race_is_one_in_whatever_order_python_does_it(x):
    """Here the upload is done first, so the numbers are right; on a GPU they may come too late."""
    with stream():
        y = to_device(np.ones(3, np.float32))
    with pytest.raises(RaceError, match=r"asarray at simulated/test_streams\.py:\d+ writes"):
        y * 2


def test_memory_used_again_is_other_memory(x):
    for _ in range(50):
        with stream():
            y = to_device(np.ones(64, np.float32))
        del y
        z = to_device(np.ones(64, np.float32))  # often at the address of the one before
        z += 1


def test_kernels_read_and_write_as_they_declare(tuned):
    if not tuned.kernels:
        pytest.skip(tuned.remark)
    x = to_device(np.ones(5, np.float32))
    synchronize()
    with stream():
        y = tuned.kernels["relu"](x)
    tuned.kernels["relu"](x)  # const
    with pytest.raises(RaceError, match=r"in the null stream.*relu.*writes in stream"):
        tuned.kernels["relu"](y)
    theta, g = to_device(np.ones((2, 5), np.float32))
    synchronize()
    with stream():
        tuned.kernels["sgd_update"](theta, g, 0.1)
    with pytest.raises(RaceError, match="sgd_update"):
        theta + 1


def test_a_race_is_a_backend_error_that_names_both_lines_and_the_way_out(x):
    with stream():
        x += 1
    with pytest.raises(BackendError) as caught:
        x + 1
    assert str(caught.value).count("simulated/test_streams.py:") == 2
    assert "stream.wait_event(other.record())" in str(caught.value)
    assert "other.synchronize()" in str(caught.value)


# ---------------------------------------------------------------- streams, as CuPy has them


def test_the_current_stream_is_the_threads():
    a, seen, cuda = stream(), [], xp.cuda  # a new thread has the process's default backend
    with a:
        assert xp.cuda.get_current_stream() is a
        with xp.cuda.Stream.null:
            assert xp.cuda.get_current_stream() == xp.cuda.Stream(null=True)
        thread = threading.Thread(target=lambda: seen.append(cuda.get_current_stream()))
        thread.start(), thread.join()
    assert seen == [xp.cuda.Stream.null]
    try:
        assert a.use() is a
        assert xp.cuda.get_current_stream() is a
    finally:
        xp.cuda.Stream.null.use()
    assert (xp.cuda.Stream.null.ptr, repr(xp.cuda.Stream.null)) == (
        0,
        "<the null stream of the simulated device>",
    )
    assert (a.ptr != 0, a.is_non_blocking, a != stream()) == (True, True, True)


STREAM = {"use", "record", "wait_event", "synchronize", "done", "null", "ptr", "priority", "is_non_blocking"}


def test_streams_and_events_are_called_as_cupys():
    for ours, names in (("Stream", STREAM), ("Event", {"record", "synchronize", "done"})):
        kind, theirs = getattr(xp.cuda, ours), getattr(judge.cupy().cuda, ours)
        assert list(inspect.signature(kind).parameters) == list(inspect.signature(theirs).parameters)
        public = {name for name in {*vars(kind), *vars(kind())} if not name.startswith("_")} - {"number"}
        assert public == names
        assert all(hasattr(theirs, name) for name in names - {"ptr"})  # which __init__ sets
    assert list(inspect.signature(xp.cuda.get_current_stream).parameters) == ["device_id"]


@pytest.mark.parametrize("name", ["begin_capture", "launch_host_func", "add_callback"])
def test_what_a_stream_lacks_says_so(name):
    with pytest.raises(
        AttributeError, match=f"cupy.cuda.Stream.{name} exists, but the simulated device lacks it"
    ):
        getattr(stream(), name)
    with pytest.raises(AttributeError, match="does not exist"):
        stream().begin_recording  # noqa: B018
    with pytest.raises(AttributeError, match="ptds"):
        xp.cuda.Stream(ptds=True)


# ---------------------------------------------------------------- a download that is not waited for


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint8", "bool"])
def test_a_download_that_is_not_waited_for_is_poisoned_until_it_is(dtype):
    values = np.array([0, 1, 0]).astype(dtype)
    x = to_device(values)
    with ledger() as counts:
        host = xp.asnumpy(x, blocking=False)
    assert (counts.downloads, counts.synchronisations) == (1, 0)
    assert not (host == values).all()
    if host.dtype.kind == "f":
        assert np.isnan(host).all()
    x += 1 if dtype != "bool" else True  # later work of the stream comes after the copy
    synchronize()
    np.testing.assert_array_equal(host, values)


def test_into_an_array_of_ones_own_and_in_another_stream():
    x, host, a = to_device(np.ones(3, np.float32)), np.zeros(3, np.float32), stream()
    with pytest.raises(RaceError):
        x.get(a, blocking=False)
    synchronize()
    assert x.get(a, out=host, blocking=False) is host
    synchronize()  # the current stream, which is another
    assert np.isnan(host).all()
    a.synchronize()
    assert host.tolist() == [1, 1, 1]


def test_what_has_not_arrived_is_not_uploaded_again():
    host = xp.asnumpy(to_device(np.ones(3, np.float32)), blocking=False)
    for upload in (to_device, xp.empty(3, np.float32).set, lambda values: to_device(values[1:])):
        with pytest.raises(RaceError, match=r"blocking=False.*wait for its stream first"):
            upload(host)
    synchronize()
    to_device(host)


# ---------------------------------------------------------------- the faults, planted


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (8, 1, 8, 8), np.uint8), rng.integers(0, 10, 8)


def train(dataset):
    model = models.simple(10, 0, input_shape=(1, 8, 8))
    optimizer = SGD(model.parameters(), 0.01)
    ((_, loss),) = training.train(
        model, SoftmaxCrossEntropy(), optimizer, dataset, epochs=1, batch_size=4, rng=0
    )
    return loss, training.predict(model, dataset[0])


@pytest.fixture(params=["reference", "tuned"])
def active(request):
    with use_backend("simulated", request.param) as active:
        if request.param == "tuned" and not active.kernels:
            pytest.skip(active.remark)
        yield active


def test_a_download_planted_without_its_wait_is_found(active, dataset, monkeypatch):
    sound = train(dataset)
    monkeypatch.setattr(training.loop, "to_host", lambda array: active.module.asnumpy(array, blocking=False))
    with pytest.raises(DivergenceError):
        train(dataset)
    monkeypatch.setattr(training.loop, "_check_finite", lambda *args: None)
    loss, predicted = train(dataset)
    assert np.isnan(loss)
    assert not np.allclose(predicted, sound[1])


def test_an_upload_planted_into_a_side_stream_is_found(active, dataset, monkeypatch):
    side = stream()

    def upload(array):
        with side:
            return active.module.asarray(array)

    model = models.simple(10, 0, input_shape=(1, 8, 8))
    monkeypatch.setattr(training.loop, "to_device", upload)
    with pytest.raises(RaceError, match=r"asarray at .* writes in stream"):
        list(training.train(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.01), dataset, epochs=1,
                            batch_size=4, rng=0))  # fmt: skip


def test_an_upload_in_a_side_stream_is_right_with_an_event(active, dataset, monkeypatch):
    sound, side = train(dataset), stream()

    def upload(array):
        with side:
            made = active.module.asarray(array)
        active.module.cuda.get_current_stream().wait_event(side.record())
        return made

    monkeypatch.setattr(training.loop, "to_device", upload)
    loss, predicted = train(dataset)
    assert loss == sound[0]
    np.testing.assert_array_equal(predicted, sound[1])


def test_a_kernel_planted_into_a_side_stream_is_found(active, dataset, monkeypatch):
    from xpcnn.layers import activation

    side, sound = stream(), activation.ops.relu

    def relu(x):
        with side:
            return sound(x)

    monkeypatch.setattr(activation.ops, "relu", relu)
    with pytest.raises(RaceError, match=r"in stream \d+"):
        train(dataset)


def steps_in_two_streams(number=2):
    """Two models train at once, each in a stream of its own."""
    rng, trainings = np.random.default_rng(0), []
    for seed in range(2):
        model = models.simple(10, seed, input_shape=(1, 8, 8))
        x, t = to_device(rng.random((4, 1, 8, 8), np.float32)), to_device(rng.integers(0, 10, 4))
        trainings.append((stream(), model, SoftmaxCrossEntropy(), SGD(model.parameters()), x, t))
    synchronize()
    for _ in range(number):
        for own, model, criterion, optimizer, x, t in trainings:
            with own:
                criterion(model(x), t)
                model.backward(criterion.backward(), need_dx=False)
                optimizer.step()
    for own, *_ in trainings:
        own.synchronize()


def test_two_models_train_at_once_in_two_streams(active):
    steps_in_two_streams()


def test_one_columns_buffer_for_two_streams_is_found(tuned, monkeypatch):
    if not tuned.kernels:
        pytest.skip(tuned.remark)
    from xpcnn.kernels.cuda import conv, im2col

    kept = {}

    def empty(device, shape, dtype):
        return kept.setdefault((shape, dtype), device.xp.empty(shape, dtype))

    fault = planted(im2col, "device.xp.empty(", "empty(device, ")
    fault.__globals__["empty"] = empty
    monkeypatch.setitem(conv.__globals__, "im2col", fault)
    with pytest.raises(RaceError, match="im2col"):
        steps_in_two_streams()
    assert kept
