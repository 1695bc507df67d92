"""Every substitute has its op's signature and gives its op's values; the walker that says so is proven first."""

import dataclasses
import importlib.util
import inspect
import sys
import types

import numpy as np
import pytest
from strategies import LAYOUTS, distinct, normal, unchanged, upload

from xpcnn import kernels, ops
from xpcnn.backend import accelerated, active_backend, to_host, use_backend
from xpcnn.errors import BackendError
from xpcnn.geometry import Window
from xpcnn.kernels.precision import computing

# ---------------------------------------------------------------- an example of every op


def convolutions(dtype):
    """Windows of every kind: a substitute may choose its way by them."""
    for shape, O, groups, window in (
        ((2, 2, 6, 5), 3, 1, Window(3)),
        ((1, 1, 1, 1), 1, 1, Window(1)),
        ((3, 4, 7, 6), 6, 2, Window((3, 2), (2, 1), ((0, 2), (1, 0)))),
        ((2, 3, 8, 7), 3, 3, Window(2, 3, 1, rounding="ceil")),
        ((2, 2, 7, 7), 2, 1, Window(3, 1, "same", 2)),
        ((2, 3, 5, 5), 2, 1, Window(1, 2)),
        ((2, 1, 4, 4), 5, 1, Window(2, 1, 3)),
        ((2, 1, 9, 9), 2, 1, Window(2, 4)),
        ((3, 3, 6, 9), 7, 1, Window((1, 5), 1, (0, 3))),
        ((1, 2, 4, 9), 1, 1, Window((2, 7), 1, 5)),
        ((3, 6, 5, 8), 14, 2, Window((2, 3), 1, 1, (1, 3))),
        ((5, 1, 2, 9), 4, 1, Window((2, 4), (1, 3), "same", (1, 2))),
        # with channels enough for rows to be multiplied without a copy
        ((3, 8, 6, 5), 3, 1, Window(3, 1, 1)),
        ((2, 9, 4, 14), 18, 1, Window((2, 3))),
        ((2, 8, 9, 6), 5, 1, Window((3, 2), (2, 1), ((0, 2), (1, 0)))),
        ((2, 8, 5, 9), 2, 1, Window((1, 3), 1, (0, 2), (3, 2))),
        ((2, 8, 2, 3), 8, 1, Window((3, 2), 1, ((7, 5), (4, 6)))),
        ((1, 10, 1, 12), 20, 1, Window((1, 3))),
        ((2, 8, 8, 4), 7, 1, Window((4, 3), (3, 1), "same")),
        ((2, 16, 3, 3), 8, 1, Window(5, 1, 2)),
        ((2, 8, 5, 5), 17, 1, Window(3)),
    ):
        x, weight, bias = normal(0, shape, (O, shape[1] // groups, *window.size), (O,), dtype=dtype)
        yield x, weight, bias, window, groups


def pools(dtype):
    for shape, window in (
        ((2, 3, 6, 6), Window(2, 2)),
        ((2, 3, 7, 6), Window(2, 2)),
        ((1, 2, 7, 7), Window(3, 2, 1, rounding="ceil")),
        ((2, 1, 5, 6), Window((3, 2), (1, 3), ((0, 2), (1, 0)))),
        ((2, 2, 5, 5), Window(2, 3, "same")),
        ((1, 1, 1, 1), Window(1)),
        ((2, 2, 7, 8), Window(2, 2, 0, 2)),
        ((2, 2, 9, 8), Window((3, 2), (1, 2), ((1, 2), (0, 1)), (2, 3), "ceil")),
    ):
        yield distinct(0, shape, dtype), window


def outputs(shape, window, dtype):
    return normal(1, (*shape[:2], *window.output_size(*shape[2:])), dtype=dtype)


def examples(dtype):
    """Yield (op, arguments) on the host; every op of the package at least once."""
    x, table = normal(0, (3, 4, 2, 2), dtype=dtype), normal(0, (5, 4), dtype=dtype)
    weight, bias, mean = normal(1, (4,), (4,), (4,), dtype=dtype)
    rows = np.random.default_rng(0).dirichlet(np.ones(4), 5).astype(dtype)
    labels = np.array([3, 0, 1, 2, 2])
    for name in ("relu", "sigmoid", "tanh"):
        yield name, (x,)
        yield f"{name}_backward", (x[::-1], x)
    for name, numbers in (("leaky_relu", (0.1,)), ("clip", (-0.5, 0.75))):
        yield name, (x, *numbers)
        yield f"{name}_backward", (x[::-1], x, *numbers)
    for gate in (x[::-1], x[..., 0, 0], x[..., :1, :1]):
        yield "product", (x, gate)
        yield "product_backward", (x + 1, x, gate)
    for leading in ((5,), (2, 3), (1,)):
        x_, w_, b_, dy_ = normal(2, (*leading, 4), (3, 4), (3,), (*leading, 3), dtype=dtype)
        yield "affine", (x_, w_, b_)
        yield "affine", (x_, w_, None)
        yield "affine_backward", (dy_, x_, w_)
        yield "affine_backward", (dy_, x_, w_, False)
    for x_, w_, b_, window, groups in convolutions(dtype):
        yield "conv", (x_, w_, b_, window, groups)
        yield "conv", (x_, w_, None, window, groups)
        dy_ = normal(3, (len(x_), len(w_), *window.output_size(*x_.shape[2:])), dtype=dtype)
        yield "conv_backward", (dy_, x_, w_, window, groups)
        yield "conv_backward", (dy_, x_, w_, window, groups, False)
        yield "im2col", (x_, window)
        yield "im2col", (x_, window, -1.5)
        shape = (x_.shape[1], *window.size, len(x_), *window.output_size(*x_.shape[2:]))
        yield "col2im", (normal(4, shape, dtype=dtype), x_.shape[2:], window)
    for x_, window in pools(dtype):
        image_size, dy_ = x_.shape[2:], outputs(x_.shape, window, dtype)
        winner = to_host(ops.max_pool.__wrapped__(upload(x_), window)[1])
        yield "max_pool", (x_, window)
        yield "max_pool_backward", (dy_, winner, image_size, window)
        yield "relu_max_pool", (x_, window)
        yield (
            "relu_max_pool_backward",
            (dy_, outputs(x_.shape, window, dtype)[::-1], winner, image_size, window),
        )
        for count_include_pad in (False, True):
            yield "average_pool", (x_, window, count_include_pad)
            yield "average_pool_backward", (dy_, image_size, window, count_include_pad)
    yield "max_pool", (np.zeros((2, 1, 4, 4), dtype), Window(2, 2))  # the first of equals
    yield "softmax", (table,)
    yield "softmax", (table, 0)
    yield "softmax_backward", (table, rows)
    yield "softmax_backward", (table, rows, 0)
    for targets in (labels, rows, rows * np.arange(5, dtype=dtype)[:, None]):
        yield "softmax_cross_entropy", (table, targets)
        yield "softmax_cross_entropy", (table * 1000, targets)
        yield "softmax_cross_entropy_backward", (rows, targets)
    for x_ in (x, table):
        yield "batch_statistics", (x_,)
        yield "batch_norm", (x_, weight, bias, mean, weight**2, 1e-5)
        for of_batch in (False, True):
            yield "batch_norm_backward", (x_[::-1], x_, weight, mean, weight**2 + 1, 1e-5, of_batch)
        for size in (1, 2, 3, 9):
            yield "local_response_norm", (x_, size, 0.5, 0.75, 2.0)
            yield "local_response_norm_backward", (x_[::-1], x_, x_**2 + 1, size, 0.5, 0.75)
    for size in (1, 5, 700):
        theta, g, state = normal(5, (size,), (size,), (size,), dtype=dtype)
        state = state.astype(computing(state.dtype))
        yield "sgd_update", (theta, g, 0.1)
        yield "momentum_update", (theta, g, state, 0.1, 0.9)
        yield "adam_update", (theta, g, state, state**2, 0.1, (0.9, 0.999), 1e-8, 3)
    for x_ in (x, table, x[:, :0]):
        yield "flatten", (x_,)
    for x_ in (x, table):
        yield "channel_scale", (x_, weight, bias)
        yield "channel_scale_backward", (x_[::-1], x_, weight)
        yield "channel_scale_backward", (x_[::-1], x_, weight, False)
        yield "pad_channels", (x_, 2)
    for name in ("silu", "gelu"):
        yield name, (x,)
        yield f"{name}_backward", (x[::-1], x)
    yield "group_norm", (x, weight, bias, 2, 1e-5)
    yield "group_norm_backward", (x[::-1], x, weight, 2, 1e-5)
    yield "layer_norm", (table, weight, bias, 1e-5)
    yield "layer_norm_backward", (table[::-1], table, weight, 1e-5)
    for name in ("upsample_nearest", "upsample_bilinear"):
        yield name, (x, (3, 2))
        yield f"{name}_backward", (normal(4, (3, 4, 6, 4), dtype=dtype), (3, 2))
    window = Window(3, 2, 1)
    x_, w_, b_, dy_ = normal(2, (2, 4, 3, 4), (4, 3, 3, 3), (6,), (2, 6, 6, 7), dtype=dtype)
    yield "conv_transpose", (x_, w_, b_, (6, 7), window, 2)
    yield "conv_transpose", (x_, w_, None, (5, 8), window, 2)
    yield "conv_transpose_backward", (dy_, x_, w_, window, 2)
    yield "keep_mask", ((3, 4, 5), 0.3, np.array([7], np.uint64), 0x2545F4914F6CDD1D)


def test_every_op_has_an_example(backend):
    assert {name for name, _ in examples("float32")} == set(ops.__all__)


# ---------------------------------------------------------------- the walker


def walk(substitutes, dtype, layout="C"):
    """Hold every substitute against the textbook's op of its name: signature, dtype, shape and values."""
    for name, substitute in substitutes.items():
        assert name in ops.__all__, f"{name} is the substitute of no op"
        assert parameters(substitute) == parameters(getattr(ops, name).__wrapped__), (
            f"{name} is called differently"
        )
    for name, arguments in examples(dtype):
        if name in substitutes:
            if name.endswith("_update"):
                walk_in_place(substitutes[name], getattr(ops, name).__wrapped__, arguments, name)
                continue
            arguments = [upload(a, layout) if isinstance(a, np.ndarray) else a for a in arguments]
            with unchanged(*(a for a in arguments if isinstance(a, active_backend().ndarray))):
                found = substitutes[name](*arguments)
            wanted = getattr(ops, name).__wrapped__(*arguments)
            if name == "relu_max_pool":  # which of several zeros has won is left open
                found, wanted = ((y, winner * (y > 0)) for y, winner in (found, wanted))
            compare(found, wanted, f"{name}{arguments}")


def walk_in_place(substitute, reference, arguments, where):
    """Hold what an update leaves behind in its arrays, which are flat and contiguous, against the textbook's."""
    runs = [[upload(a.copy()) if isinstance(a, np.ndarray) else a for a in arguments] for _ in range(2)]
    for update, given in zip((substitute, reference), runs, strict=True):
        assert update(*given) is None, where
    for found, wanted in zip(*runs, strict=True):
        if isinstance(wanted, active_backend().ndarray):
            compare(found, wanted, where)


def parameters(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def compare(found, wanted, where):
    if isinstance(wanted, tuple):
        assert isinstance(found, tuple), where
        assert len(found) == len(wanted), where
        for one, other in zip(found, wanted, strict=True):
            compare(one, other, where)
    elif wanted is None:
        assert found is None, where
    else:
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype), where
        close = {"float16": 4e-3, "float32": 1e-4, "float64": 1e-10}.get(str(wanted.dtype), 0)
        scale = 1.0
        if (
            wanted.dtype == "float16"
        ):  # columns that are kept in half are off by their size, not by their sum's
            scale = np.abs(to_host(wanted)).max(initial=1).astype(float)
        np.testing.assert_allclose(
            to_host(found), to_host(wanted), rtol=close, atol=close * scale, err_msg=where
        )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_substitute_is_its_op(backend, dtype, layout):
    walk(backend.kernels, dtype, layout)


needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="Numba is not installed")
ON_NUMPY = pytest.mark.parametrize("choice", ["pure", pytest.param("tuned", marks=needs_numba)])


@ON_NUMPY
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_substitute_on_numpy_is_its_op_with_numba_and_without(choice, dtype, layout):
    substitutes = kernels.load("numpy", choice)
    package = "xpcnn.kernels.cpu.compiled" if choice == "tuned" else "xpcnn.kernels.cpu.plain"
    assert substitutes["conv"].__module__ == f"{package}.conv"
    walk(substitutes, dtype, layout)


@ON_NUMPY
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("workspace", [1, 300, 3000, 16_000, 48_000])
def test_numpys_blocks_may_be_of_any_size_on_any_thread(monkeypatch, workspace, layout, choice):
    """The examples are small: by itself a block would always hold all of one, and one thread do it."""
    monkeypatch.setenv("XPCNN_WORKSPACE", str(workspace))
    monkeypatch.setattr("xpcnn.kernels.cpu.threads.WORTHWHILE", 0)
    monkeypatch.setattr("xpcnn.kernels.cpu.threads.count", lambda: 3)
    walk(kernels.load("numpy", choice), "float64", layout)


@ON_NUMPY
def test_an_axis_of_length_1_may_have_any_stride(choice):
    """NumPy calls such an array contiguous, whatever the stride; a view made from it must not trust that."""
    x = np.random.default_rng(0).standard_normal((1, 1, 8, 7))
    odd = np.lib.stride_tricks.as_strided(x, strides=(8 * 999, 8 * 777, 56, 8))
    weight = np.random.default_rng(1).standard_normal((3, 1, 1, 1))
    found = kernels.load("numpy", choice)["conv"](odd, weight, None, Window(1))
    np.testing.assert_allclose(found, weight[None, :, 0] * x, rtol=1e-12)


@ON_NUMPY
def test_a_gradient_of_another_shape_is_refused_as_the_textbook_does(choice):
    with pytest.raises(ValueError, match="broadcast"):
        kernels.load("numpy", choice)["relu_backward"](np.ones((2, 3)), np.ones((3, 2)))


def test_threads_keep_the_callers_errstate(monkeypatch):
    from xpcnn.kernels.cpu import threads

    monkeypatch.setattr(threads, "WORTHWHILE", 0)
    monkeypatch.setattr(threads, "count", lambda: 2)
    large = np.full(2, 3e38, np.float32)
    with np.errstate(over="ignore"):
        threads.in_parallel(lambda start, stop: np.multiply(large, large), 2, work=1)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        threads.in_parallel(lambda start, stop: start and np.multiply(large, large), 2, work=1)


def test_what_a_thread_raises_is_raised_and_the_threads_go_on(monkeypatch):
    from xpcnn.kernels.cpu import threads

    monkeypatch.setattr(threads, "count", lambda: 3)
    done = []

    def share(start, stop):
        done.append(start)
        if start == 2:
            raise LookupError("in a thread")

    with pytest.raises(LookupError, match="in a thread"):
        threads.in_parallel(share, 3, threads.WORTHWHILE)
    assert sorted(done) == [0, 1, 2]
    threads.in_parallel(lambda start, stop: done.append(10 + start), 3, threads.WORTHWHILE)
    assert sorted(done[3:]) == [10, 11, 12]


def test_a_share_within_a_share_and_another_thread_s_do_not_wait(monkeypatch):
    from xpcnn.kernels.cpu import threads

    monkeypatch.setattr(threads, "count", lambda: 2)
    done = []

    def share(start, stop):
        threads.in_parallel(lambda a, b: done.append((start, a, b)), 2, threads.WORTHWHILE)

    threads.in_parallel(share, 2, threads.WORTHWHILE)
    assert sorted(done) == [(0, 0, 2), (1, 0, 2)]


def relu_as_it_is(x):
    return x * (x > 0)


def relu_that_leaks(x):
    return x * (x > 0) + 1e-3 * x


def relu_of_another_signature(array):
    return array * (array > 0)


def relu_in_float64(x):
    return (x * (x > 0)).astype("float64")


def relu_in_place(x):
    x *= x > 0
    return x


def first_alone(dy, y):
    return dy


def affine_backward_with_dx_always(dy, x, weight, need_dx=True):
    return ops.affine_backward.__wrapped__(dy, x, weight)


def affine_backward_without_default(dy, x, weight, need_dx):
    return ops.affine_backward.__wrapped__(dy, x, weight, need_dx)


def max_pool_last_of_equals(x, window):
    y, winner = ops.max_pool.__wrapped__(x[..., ::-1, ::-1], window)
    return y[..., ::-1, ::-1], window.size[0] * window.size[1] - 1 - winner[..., ::-1, ::-1]


def test_the_walker_lets_a_right_one_pass(backend):
    walk({"relu": relu_as_it_is}, "float32")
    walk({name: getattr(ops, name).__wrapped__ for name in ops.__all__}, "float32")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("relu", relu_that_leaks),
        ("relu", relu_of_another_signature),
        ("relu", relu_in_float64),
        ("relu", relu_in_place),
        ("relu_backward", first_alone),
        ("affine_backward", affine_backward_with_dx_always),
        ("affine_backward", affine_backward_without_default),
        ("max_pool", max_pool_last_of_equals),
        ("no_such_op", relu_as_it_is),
    ],
)
def test_the_walker_catches_a_wrong_one(backend, name, wrong):
    with pytest.raises(AssertionError):
        walk({name: wrong}, "float32")


# ---------------------------------------------------------------- how a substitute comes in, and stays out


def test_accelerated_calls_the_substitute_of_the_active_backend(backend):
    @accelerated
    def double(x, times=2):
        """Twice x."""
        return times * x

    assert (double.__name__, double.__doc__, double(3)) == ("double", "Twice x.", 6)
    assert parameters(double) == parameters(double.__wrapped__)
    planted = dataclasses.replace(backend, kernels={"double": lambda x, times=2: ("planted", x, times)})
    with use_backend(planted):
        assert double(3) == ("planted", 3, 2)
        assert double(x=3, times=4) == ("planted", 3, 4)
        assert double.__wrapped__(3) == 6
    assert double(3) == 6


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A backend's module of substitutes, xpcnn.kernels.planted."""
    (tmp_path / "planted.py").write_text("SUBSTITUTES = {'relu': lambda x: 'planted'}\n")
    monkeypatch.setattr(kernels, "__path__", [*kernels.__path__, str(tmp_path)])
    monkeypatch.delenv("XPCNN_KERNELS", raising=False)
    yield
    sys.modules.pop("xpcnn.kernels.planted", None)


@pytest.mark.parametrize("choice", [None, "", "tuned"])
@pytest.mark.usefixtures("planted")
def test_load_finds_the_substitutes_of_a_backend(monkeypatch, choice):
    if choice is not None:
        monkeypatch.setenv("XPCNN_KERNELS", choice)
    substitutes = kernels.load("planted")
    assert isinstance(substitutes["relu"], types.FunctionType)
    with use_backend(dataclasses.replace(active_backend(), kernels=substitutes)):
        assert ops.relu(np.ones(3)) == "planted"


@pytest.mark.usefixtures("planted")
def test_reference_turns_every_substitute_off(monkeypatch):
    monkeypatch.setenv("XPCNN_KERNELS", "reference")
    assert kernels.load("planted") == {}
    with use_backend("numpy") as opened:
        assert opened.kernels == {}


def test_a_backend_without_a_module_has_no_substitutes():
    assert kernels.load("nowhere") == {}


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("choice", ["pure", "tuned"])
def test_pure_is_tuned_where_nothing_is_compiled(monkeypatch, choice):
    monkeypatch.setenv("XPCNN_KERNELS", choice)
    assert kernels.load("planted")["relu"](0) == "planted"
    assert kernels.remark("planted") == ""


@pytest.mark.usefixtures("planted")
def test_another_choice_is_an_error(monkeypatch):
    monkeypatch.setenv("XPCNN_KERNELS", "fast")
    with pytest.raises(
        BackendError, match="XPCNN_KERNELS='fast' is unknown; set it to one of: tuned, pure, reference"
    ):
        kernels.load("planted")
