"""Sums over a million numbers of a channel: float32 keeps six digits, also where one number is added again and again.

All roundings of such a sum go one way, so a sum in turn loses several digits, where that of random numbers may not.
"""

import importlib.util

import numpy as np
import pytest
from cuda_examples import host_module
from fuzzing.bounds import textbook
from fuzzing.comparison import substitutes

from xpcnn import ops
from xpcnn.backend import use_backend
from xpcnn.geometry import Window
from xpcnn.kernels.cuda.launch import Device

CLOSE = 1e-6
needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="Numba is not installed")
KINDS = ("textbook", "pure", pytest.param("compiled", marks=needs_numba), "cuda")

SHAPES = [(1_000_000, 2), (10_000, 2, 10, 10), (1, 2, 1000, 1000), (1, 2, 1, 1_000_000)]


def equal(*shape):
    return np.full(shape, 0.1, np.float32)


def uniform(*shape):
    return np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)


def of_rows(images):
    """The same values in the kernels' memory order, (H,C,W,N)."""
    return (
        np.ascontiguousarray(images.transpose(2, 1, 3, 0)).transpose(3, 1, 0, 2)
        if images.ndim == 4
        else images
    )


def hold(kind, name, *arguments, ignore=()):
    """Compare each result with the textbook's in float64, relative to the largest of that result."""
    op = textbook(name) if kind == "textbook" else substitutes(kind).get(name)
    if op is None:
        pytest.skip(f"there is no {kind} kernel for {name}")
    results = op(*arguments)
    with use_backend("numpy", "reference"):
        exact = textbook(name)(
            *(a.astype(float) if isinstance(a, np.ndarray) and a.dtype == "f" else a for a in arguments)
        )
    pairs = zip(results, exact, strict=True) if isinstance(exact, tuple) else [(results, exact)]
    for number, (result, want) in enumerate(pairs):
        if want is not None and number not in ignore:
            off = np.max(abs(result - want)) / np.max(abs(want))
            assert off <= CLOSE, f"{name}: result {number} is off by {off:.1e}"


@pytest.mark.parametrize("values", [equal, uniform])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_statistics_of_a_million_numbers(kind, shape, values):
    x = of_rows(values(*shape))
    # the variance of equal numbers is 0: nothing to be relative to
    hold(kind, "batch_statistics", x, ignore=(1,) if values is equal else ())
    if values is equal:
        op = textbook("batch_statistics") if kind == "textbook" else substitutes(kind).get("batch_statistics")
        if op is not None:
            assert np.max(op(x)[1]) <= (CLOSE * 0.1) ** 2


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_a_million_numbers(kind, shape):
    dy, x, ones, C = of_rows(equal(*shape)), of_rows(uniform(*shape)), np.ones(shape[1], np.float32), shape[1]
    hold(kind, "batch_norm_backward", dy, x, ones, 0 * ones, ones, 1e-5, False)
    x = of_rows(equal(*shape))
    hold(kind, "batch_norm_backward", dy, x, ones, 0 * ones, ones, 1e-5, False)
    if kind == "textbook":
        hold(kind, "channel_scale_backward", dy, x, np.ones(C, np.float32))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 2, 1000, 1000), (10_000, 2, 10, 10), (1, 2, 1, 1_000_000)], ids=str)
def test_bias_of_a_convolution_over_a_million_pixels(kind, shape):
    N, size, weight = shape[0], shape[2:], equal(2, 1, 1, 1)
    dy, x = of_rows(equal(*shape)), of_rows(equal(N, 1, *size))
    # dx is no long sum; dweight is a matrix product, whose order of sums is BLAS's where it is not ours
    hold(kind, "conv_backward", dy, x, weight, Window(1), ignore=(1,))


@pytest.mark.parametrize("kind", KINDS)
def test_bias_of_an_affine_layer_over_a_million_rows(kind):
    hold(kind, "affine_backward", equal(1_000_000, 2), equal(1_000_000, 1), equal(2, 1), ignore=(1,))


def test_mean_of_a_million_losses():
    hold("textbook", "softmax_cross_entropy", equal(1_000_000, 2), np.zeros(1_000_000, np.int64))
    losses, mean = equal(1_000_000), np.zeros((), np.float32)  # the losses themselves take a warp each
    Device(host_module).launch("mean", 1, values=losses, result=mean, M=len(losses))
    np.testing.assert_allclose(mean, losses[0], rtol=CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_mean_of_a_million_pixels(kind):
    hold(kind, "average_pool", equal(1, 1, 1000, 1000), Window(1000))


def test_gradients_of_other_normalizations_and_of_transposed_convolution():
    shape, ones = (200_000, 4), np.ones(4, np.float32)
    for name, more in (("layer_norm_backward", (1e-5,)), ("group_norm_backward", (2, 1e-5))):
        dy, x = equal(*shape), uniform(*shape)
        dbias = getattr(ops, name)(dy, x, ones, *more)[2]
        np.testing.assert_allclose(dbias, 200_000 * np.float64(np.float32(0.1)), rtol=CLOSE)
    dy, x = equal(200_000, 1, 1, 1), equal(200_000, 1, 1, 1)
    dbias = ops.conv_transpose_backward(dy, x, equal(1, 1, 1, 1), Window(1))[2]
    np.testing.assert_allclose(dbias, 200_000 * np.float64(np.float32(0.1)), rtol=CLOSE)
