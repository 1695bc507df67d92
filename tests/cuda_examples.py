"""Examples of what the CUDA kernels compute, and an array module of plain NumPy arrays to launch them on."""

import types
from contextlib import nullcontext

import numpy as np
from strategies import distinct, normal

from xpcnn import ops
from xpcnn.geometry import Window
from xpcnn.kernels.cuda import substitutes
from xpcnn.kernels.precision import computing
from xpcnn.simulated.cuda import RawModule, every_schedule, why_not

WHY_NOT = why_not()  # why kernels cannot be simulated here, or None

TOLERANCE = {"float16": 4e-3, "float32": 3e-6, "float64": 1e-13}
"""Relative to the largest number of a result: what one rounding to storage, or another order of a sum, does."""


class HostModule(types.ModuleType):
    """NumPy, with CuPy's RawModule: all that the substitutes ask of an array module."""

    RawModule = RawModule

    def __getattr__(self, name):
        return getattr(np, name)


host_module = HostModule("host_module")


def windows():
    """Every kind of window, with (N, C, H, W) that it fits: one pixel, odd sizes, tails, batches of 1, 2 and 3."""
    yield (1, 1, 1, 1), Window(1)
    yield (2, 3, 7, 6), Window(2, 2)
    yield (1, 2, 9, 8), Window(3, 2, ((1, 0), (2, 1)))
    yield (3, 2, 5, 7), Window((3, 2), (1, 3), "same")
    yield (2, 1, 6, 6), Window(3, 2, 1, rounding="ceil")


def dilated_windows():
    yield from windows()
    yield (2, 4, 7, 9), Window(3, 1, 2, (2, 3))
    yield (2, 2, 8, 7), Window((2, 3), (2, 1), ((0, 1), (2, 1)), (3, 1), "ceil")
    yield (0, 2, 5, 5), Window(3)


def examples(dtype):
    """Yield (op, arguments on the host): every substitute, several times."""
    for shape, window in dilated_windows():
        x = normal(0, shape, dtype=dtype)
        cols = (shape[1], *window.size, shape[0], *window.output_size(*shape[2:]))
        yield "im2col", (x, window)
        yield "im2col", (x, window, -2.5)
        yield "col2im", (normal(1, cols, dtype=dtype), shape[2:], window)
        for groups in (1, shape[1]):
            O = 3 * groups
            weight, bias = normal(2, (O, shape[1] // groups, *window.size), (O,), dtype=dtype)
            dy = normal(3, (shape[0], O, *window.output_size(*shape[2:])), dtype=dtype)
            yield "conv", (x, weight, bias, window, groups)
            yield "conv", (x, weight, None, window, groups)
            yield "conv_backward", (dy, x, weight, window, groups)
            yield "conv_backward", (dy, x, weight, window, groups, False)
    for shape, window in (*dilated_windows(), ((1, 1, 18, 19), Window(17))):
        x = distinct(0, shape, dtype)
        dy = normal(1, (*shape[:2], *window.output_size(*shape[2:])), dtype=dtype)
        yield "max_pool", (x, window)
        yield "max_pool", (np.zeros_like(x), window)  # the first of equals
        yield "max_pool_backward", (dy, ops.max_pool.__wrapped__(x, window)[1], shape[2:], window)
        for count_include_pad in (False, True):
            yield "average_pool", (x, window, count_include_pad)
            yield "average_pool_backward", (dy, shape[2:], window, count_include_pad)
    for M, D in ((1, 1), (5, 10), (3, 32), (2, 33), (9, 100), (300, 3)):
        logits = normal(4, (M, D), dtype=dtype) * 3
        p = np.random.default_rng(5).dirichlet(np.ones(D), M).astype(dtype)
        labels = np.random.default_rng(6).integers(0, D, M)
        weights = p * np.arange(M, dtype=dtype)[:, None] / np.asarray(M, dtype)  # rows that do not sum to one
        for targets in (labels, labels.astype(np.uint8), p, np.eye(D, dtype=dtype)[labels], weights):
            yield "softmax_cross_entropy", (logits, targets)
            yield "softmax_cross_entropy_backward", (p, targets)
    for shape in ((1, 1, 2), (4, 3), (3, 2, 5, 7), (2, 5, 300), (70, 1, 9)):
        x, dy = normal(7, shape, shape, dtype=dtype)
        x = x + np.asarray(3, dtype)
        weight, bias = normal(8, (shape[1],), (shape[1],), dtype=dtype)
        mean, variance = (a.astype(dtype) for a in ops.batch_statistics.__wrapped__(x.astype(np.float64)))
        yield "batch_statistics", (x,)
        yield "batch_norm", (x, weight, bias, mean, variance, 1e-3)
        for of_batch in (True, False):
            yield "batch_norm_backward", (dy, x, weight, mean, variance, 1e-3, of_batch)
    for shape, groups in (((1, 2), 1), ((4, 3), 3), ((3, 6, 5, 7), 2), ((2, 4, 300), 4), ((0, 4, 3), 2)):
        x, dy = normal(10, shape, shape, dtype=dtype)
        x = x + np.asarray(3, dtype)
        weight, bias = normal(11, (shape[1],), (shape[1],), dtype=dtype)
        yield "group_norm", (x, weight, bias, groups, 1e-3)
        yield "group_norm_backward", (dy, x, weight, groups, 1e-3)
        for axes in (1, len(shape) - 1):
            weight, bias = normal(12, shape[-axes:], shape[-axes:], dtype=dtype)
            yield "layer_norm", (x, weight, bias, 1e-3)
            yield "layer_norm_backward", (dy, x, weight, 1e-3)
    for size in (0, 1, 255, 256, 257, 1000):
        theta, g, state = normal(9, (size,), (size,), (size,), dtype=dtype)
        state = state.astype(computing(state.dtype))
        yield "relu", (theta,)
        yield "relu_backward", (g, np.maximum(theta, 0))
        for name in ("silu", "gelu"):
            yield name, (4 * theta,)
            yield f"{name}_backward", (g, 4 * theta)
        for name in ("sigmoid", "tanh"):
            yield name, (4 * theta,)
            yield f"{name}_backward", (g, np.tanh(theta))
        for name, numbers in (("leaky_relu", (0.125,)), ("clip", (-0.5, 0.75))):
            yield name, (theta, *numbers)
            yield f"{name}_backward", (g, theta, *numbers)
        yield "sgd_update", (theta, g, 0.1)
        yield "momentum_update", (theta, g, state, 0.1, 0.9)
        yield "adam_update", (theta, g, state, state * state, 0.1, (0.9, 0.999), 1e-3, 3)
        yield "keep_mask", ((size,), 0.3, np.array([2**64 - 5], np.uint64), 0x2545F4914F6CDD1D)


def check(names=None, dtypes=("float32",), module=host_module, upload=np.copy, download=np.asarray):
    """Hold substitutes against the textbook's ops, in every schedule of the threads where they are simulated.

    The textbook computes in float64, from numbers that were rounded to `dtype`.
    """
    found = substitutes(module)
    for dtype in dtypes:
        for name, arguments in examples(dtype):
            if names is None or name in names:
                compare(name, found[name], dtype, arguments, module, upload, download)


def compare(name, substitute, dtype, arguments, module, upload, download):
    textbook = getattr(ops, name).__wrapped__
    given = [upload(a) if isinstance(a, np.ndarray) else a for a in arguments]
    with every_schedule() if module is host_module else nullcontext():
        results = left_behind(substitute, given)
    same = left_behind(textbook, [a.copy() if isinstance(a, np.ndarray) else a for a in arguments])
    wanted = left_behind(textbook, [in_double(a) if isinstance(a, np.ndarray) else a for a in arguments])
    for result, like, want in zip(results, same, wanted, strict=True):
        if want is None:
            assert result is None, name
            continue
        assert result.shape == want.shape, name
        assert result.flags.c_contiguous, name
        assert result.dtype == like.dtype, name
        result, scale = download(result), np.abs(want).max(initial=1) if want.dtype.kind == "f" else 0
        np.testing.assert_allclose(
            result.astype(want.dtype),
            want,
            rtol=0,
            atol=scale * TOLERANCE[dtype],
            err_msg=f"{name}{arguments}",
        )


def left_behind(op, arguments):
    """Return an op's results; of an update, which has none, the arrays that it was given."""
    results = op(*arguments)
    if results is None:
        return [a for a in arguments if hasattr(a, "dtype")]
    return results if isinstance(results, tuple) else [results]


def in_double(array):
    return array.astype(np.float64) if array.dtype.kind == "f" else array.copy()
