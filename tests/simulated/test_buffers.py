"""What an op has returned is the caller's: no later call writes to it, on any backend, with any kernels."""

import numpy as np
import pytest
from kernels.test_substitutes import examples
from simulated.conftest import planted
from strategies import upload

from xpcnn import ops
from xpcnn.backend import active_backend, to_host, use_backend
from xpcnn.geometry import Window

UPDATES = {
    "adam_update",
    "momentum_update",
    "sgd_update",
}  # which write to their arguments, and return nothing


def arrays(results):
    results = results if isinstance(results, tuple) else (results,)
    return [result for result in results if hasattr(result, "dtype")]


def assert_results_are_the_callers(name, function, arguments):
    """Call twice with arrays of the same shapes, holding the results of the first call."""

    def given(shift):
        return [
            upload(value + value.dtype.type(shift) if value.dtype.kind == "f" else value)
            if isinstance(value, np.ndarray)
            else value
            for value in arguments
        ]

    first = arrays(function(*given(0)))
    values = [to_host(result).copy() for result in first]
    second = arrays(function(*given(1)))
    for result, value in zip(first, values, strict=True):
        np.testing.assert_array_equal(
            to_host(result), value, err_msg=f"{name}: a later call wrote to its result"
        )
    for one in first:
        for other in second:
            shared = np.may_share_memory(*(getattr(array, "_host", array) for array in (one, other)))
            assert not shared, f"{name}: two calls return the same memory"


@pytest.fixture(params=["numpy:pure", "numpy", "simulated:reference", "simulated"])
def running(request):
    name, _, kernels = request.param.partition(":")
    with use_backend(name, kernels) as active:
        if kernels != "reference" and not active.kernels:
            pytest.skip(active.remark)
        yield active


def test_a_result_is_never_written_to_by_a_later_call(running):
    for name, arguments in examples("float32"):
        if name not in UPDATES:
            assert_results_are_the_callers(name, getattr(ops, name), arguments)


X, WINDOW = np.random.default_rng(0).random((2, 3, 6, 6), np.float32), Window(3)


def test_a_columns_buffer_kept_for_each_shape_is_found(tuned):
    if not tuned.kernels:
        pytest.skip(tuned.remark)
    from xpcnn.kernels.cuda import im2col

    kept, device = {}, tuned.kernels["im2col"].args[0]
    fault = planted(im2col, "device.xp.empty(", "empty(device, ")
    fault.__globals__["empty"] = lambda device, shape, dtype: (
        kept[shape] if shape in kept else kept.setdefault(shape, device.xp.empty(shape, dtype))
    )
    assert_results_are_the_callers("im2col", lambda *given: im2col(device, *given), (X, WINDOW))
    with pytest.raises(AssertionError, match="a later call wrote to its result"):
        assert_results_are_the_callers("im2col", lambda *given: fault(device, *given), (X, WINDOW))


def test_a_result_kept_for_each_shape_is_found_in_any_op():
    """A small wrong program: one buffer for every result of a shape."""
    kept, relu = {}, active_backend().kernels.get("relu", ops.relu)

    def fault(x):
        y = relu(x)
        held = kept.setdefault(y.shape, y)
        held[...] = y
        return held

    with pytest.raises(AssertionError, match="a later call wrote to its result"):
        assert_results_are_the_callers("relu", fault, (X,))
    same = upload(X)
    with pytest.raises(AssertionError, match="return the same memory"):  # though nobody wrote
        assert_results_are_the_callers("relu", lambda x: same, (X,))
