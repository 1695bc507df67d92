"""Every kernel against its op: values, dtype, shape; odd sizes, batches of 0 and 1, tails; in every schedule."""

import importlib
import inspect

import numpy as np
import pytest
from cuda_examples import check, examples, host_module

from xpcnn import ops
from xpcnn.geometry import Window
from xpcnn.kernels.cuda import OPS, substitutes

NAMES = sorted(op.__name__ for op in OPS)


def test_every_substitute_has_an_example():
    assert {name for name, _ in examples("float32")} == set(NAMES)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_values(where, name, dtype):
    check({name}, (dtype,), **where)


@pytest.mark.parametrize("name", NAMES)
def test_a_substitute_is_called_as_its_op(name):
    def parameters(function):
        return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]

    assert parameters(substitutes(host_module)[name]) == parameters(getattr(ops, name).__wrapped__)


EXACT = {
    "im2col", "col2im", "max_pool", "max_pool_backward", "average_pool", "average_pool_backward", "relu",
    "relu_backward", "batch_norm", "clip", "clip_backward", "keep_mask", "leaky_relu", "leaky_relu_backward",
    "sgd_update", "momentum_update", "adam_update", "softmax_cross_entropy_backward",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(EXACT))
def test_what_adds_in_the_textbooks_order_rounds_like_it(compiler, name):
    """So the losses of two backends agree to the bit as far as these kernels go."""
    found = substitutes(host_module)[name]
    for other, arguments in examples("float32"):
        if other == name:
            runs = [[a.copy() if isinstance(a, np.ndarray) else a for a in arguments] for _ in range(2)]
            results = [
                op(*run) for op, run in zip((found, getattr(ops, name).__wrapped__), runs, strict=True)
            ]
            for ours, theirs in zip(
                *(runs if results[0] is None else map(np.atleast_1d, results)), strict=True
            ):
                assert np.array_equal(ours, theirs), arguments


def test_memory_order_is_not_assumed(compiler):
    x = np.asfortranarray(np.random.default_rng(0).standard_normal((3, 2, 6, 5)).astype(np.float32))
    found = substitutes(host_module)
    for name, arguments in (("relu", (x,)), ("im2col", (x, Window(3))), ("batch_statistics", (x[:, ::-1],))):
        ours, theirs = found[name](*arguments), getattr(ops, name).__wrapped__(*arguments)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("images", [1, 2, 3])
def test_a_small_workspace_changes_nothing(compiler, monkeypatch, images):
    """Columns for 1, 2 and 3 of 5 images at a time: whole pieces and a remainder."""
    x, weight = (
        np.random.default_rng(0).standard_normal(s).astype(np.float32) for s in ((5, 2, 6, 6), (4, 2, 3, 3))
    )
    window, found = Window(3), substitutes(host_module)
    y, dy = found["conv"](x, weight, None, window), np.ones((5, 4, 4, 4), np.float32)
    whole = found["conv_backward"](dy, x, weight, window)
    monkeypatch.setattr(
        importlib.import_module("xpcnn.kernels.cuda.conv"), "WORKSPACE", images * 2 * 9 * 16 * 4 + 1
    )
    np.testing.assert_allclose(found["conv"](x, weight, None, window), y, rtol=1e-6, atol=1e-6)
    for part, wanted in zip(found["conv_backward"](dy, x, weight, window), whole, strict=True):
        np.testing.assert_allclose(part, wanted, rtol=1e-5, atol=1e-5)


def test_nan_and_infinity_pass_as_in_the_textbook(compiler):
    values = np.array([np.nan, np.inf, -np.inf, -0.0, 2.0, np.nan], np.float32)
    found = substitutes(host_module)
    assert np.array_equal(found["relu"](values), ops.relu(values), equal_nan=True)
    images = np.resize(values, (1, 1, 5, 5))
    for ours, theirs in zip(
        found["max_pool"](images, Window(2)), ops.max_pool.__wrapped__(images, Window(2)), strict=True
    ):
        assert np.array_equal(ours, theirs, equal_nan=True)
    logits = np.array([[1e4, -1e4], [np.nan, 0], [np.inf, 0]], np.float32)
    loss, p = found["softmax_cross_entropy"](logits, np.array([1, 0, 0]))
    with np.errstate(all="ignore"):
        assert np.array_equal(
            p, ops.softmax_cross_entropy.__wrapped__(logits, np.array([1, 0, 0]))[1], equal_nan=True
        )
    assert np.isnan(loss)


def test_welford_does_not_cancel(compiler):
    """A spread of 1 around 10^6: the mean of squares less the square of the mean has no digit of it in float32."""
    x = (1e6 + np.random.default_rng(0).standard_normal((50, 1, 40))).astype(np.float32)
    _, variance = substitutes(host_module)["batch_statistics"](x)
    assert variance[0] == pytest.approx(x.astype(np.float64).var(), rel=1e-2)


def test_the_epilogue_adds_the_bias_and_transposes_and_backward_transposes_back(compiler):
    device = substitutes(host_module)["relu"].args[0]
    rng = np.random.default_rng(0)
    product, bias, dy = (rng.standard_normal(s).astype(np.float32) for s in ((3, 2, 7), (3,), (2, 3, 7)))
    y, dproduct = np.empty((2, 3, 7), np.float32), np.empty((3, 2, 7), np.float32)
    device.launch("add_bias", y.size, product=product, bias=bias, y=y, N=2, O=3, P=7)
    assert np.array_equal(y, (product + bias[:, None, None]).swapaxes(0, 1))
    device.launch("filters_first", y.size, dy=dy, dproduct=dproduct, N=2, O=3, P=7)
    assert np.array_equal(dproduct, dy.swapaxes(0, 1))
