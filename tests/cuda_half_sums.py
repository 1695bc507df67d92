"""Sums of many terms in half precision: kept in half, they stop growing or overflow long before the end."""

import numpy as np
from cuda_examples import host_module

from xpcnn import ops
from xpcnn.geometry import Window
from xpcnn.kernels.cuda import substitutes
from xpcnn.kernels.cuda.launch import Device

TERMS = 100_000
h = np.float16


def hold(name, *arguments):
    """A substitute in half precision against the textbook's op in float64, to half a percent of each result."""
    results = substitutes(host_module)[name](*arguments)
    exact = [a.astype(float) if getattr(a, "dtype", None) == h else a for a in arguments]
    wanted = getattr(ops, name).__wrapped__(*exact)
    pairs = zip(results, wanted, strict=True) if isinstance(wanted, tuple) else [(results, wanted)]
    for result, want in pairs:
        np.testing.assert_allclose(result, want, rtol=5e-3, atol=1e-7, err_msg=name)


def one_pixel_under(windows):
    """One pixel that so many windows along each axis see, and a value for each window."""
    window = Window(windows, 1, windows - 1)
    return window, np.full((1, 1, windows, windows), 0.1, h)


def col2im():
    window, _ = one_pixel_under(48)  # 48^4 columns, of which 48^2 are added to the pixel
    hold("col2im", np.full((1, 48, 48, 1, 48, 48), 0.1, h), (1, 1), window)


def max_pool_backward():
    window, dy = one_pixel_under(100)
    _, winner = ops.max_pool.__wrapped__(np.ones((1, 1, 1, 1), h), window)
    hold("max_pool_backward", dy, winner, (1, 1), window)


def average_pool():
    hold("average_pool", np.full((1, 1, 320, 320), 10.1, h), Window(320))


def average_pool_backward():
    window, dy = one_pixel_under(100)
    hold("average_pool_backward", dy, (1, 1), window)


def row_sum():
    x, weight = np.full((1, 1, 1, TERMS), 0.01, h), np.full((2, 1, 1, 1), 0.01, h)
    hold("conv_backward", np.full((1, 2, 1, TERMS), 0.1, h), x, weight, Window(1))


def values_of_two_channels():
    return np.random.default_rng(0).normal(3, 2, (4, 2, TERMS // 4)).astype(h)


def batch_statistics():
    hold("batch_statistics", values_of_two_channels())


def batch_norm_sums():
    """The same term each time: rounding errs to the same side, and does not average out."""
    x, dy = (np.full((4, 2, TERMS // 4), number, h) for number in (5, 0.1))
    weight, mean, variance = (np.full(2, number, h) for number in (1, 3, 4))
    hold("batch_norm_backward", dy, x, weight, mean, variance, 1e-3, False)


def sample_norm():
    """Rows whose sum, and whose sum of squares, half cannot hold."""
    x = (400 * np.random.default_rng(0).normal(1, 1, (2, TERMS // 2))).astype(h)
    weight, bias = np.ones(TERMS // 2, h), np.zeros(TERMS // 2, h)
    y = substitutes(host_module)["layer_norm"](x, weight, bias, 1e-5)
    wide = x.astype(float)
    wanted = (wide - wide.mean(axis=1, keepdims=True)) / wide.std(axis=1, keepdims=True)
    np.testing.assert_allclose(y, wanted, rtol=5e-3, atol=2e-3)


def sample_norm_backward():
    """The same term each time, so that a sum that rounds always errs to the same side."""
    row = np.tile(np.array([2, 4], h), TERMS // 2)
    x, dy, weight = np.stack([row, row]), np.full((2, TERMS), 0.1, h), np.ones(TERMS, h)
    dx, _, _ = substitutes(host_module)["layer_norm_backward"](dy * row / 2, x, weight, 1e-5)
    g = (dy * row / 2).astype(float)
    xhat = (row - 3.0) / np.sqrt(1 + 1e-5)
    wanted = (g - g.mean() - xhat * (g * xhat).mean(axis=1, keepdims=True)) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(dx, wanted, atol=5e-4)


def sample_norm_parameters():
    x, dy = values_of_two_channels(), np.full((4, 2, TERMS // 4), 0.1, h)
    _, dweight, dbias = substitutes(host_module)["group_norm_backward"](dy, x, np.ones(2, h), 2, 1e-5)
    wide = x.astype(float)
    xhat = (wide - wide.mean(axis=2, keepdims=True)) / wide.std(axis=2, keepdims=True)
    np.testing.assert_allclose(dbias, dy.astype(float).sum(axis=(0, 2)), rtol=5e-3)
    np.testing.assert_allclose(dweight, (dy * xhat).sum(axis=(0, 2)), atol=1)


def mean_of_losses():
    losses, result = np.full(TERMS, 0.1, np.float32), np.zeros((), np.float32)
    Device(host_module).launch("mean", 1, values=losses, result=result, M=TERMS)
    np.testing.assert_allclose(result, 0.1, rtol=1e-5)


def sum_over_classes():
    logits = np.random.default_rng(0).standard_normal((2, TERMS)).astype(h)
    results = substitutes(host_module)["softmax_cross_entropy"](logits, np.array([3, 4]))
    wanted = ops.softmax_cross_entropy.__wrapped__(logits.astype(float), np.array([3, 4]))
    np.testing.assert_allclose(results[0], wanted[0], rtol=5e-3)
    np.testing.assert_allclose(
        results[1], wanted[1], rtol=5e-2, atol=1e-7
    )  # subnormal numbers have few digits


HALF_SUMS = {function.__name__: function for function in (
    col2im, max_pool_backward, average_pool, average_pool_backward, row_sum, batch_statistics, batch_norm_sums,
    sample_norm, sample_norm_backward, sample_norm_parameters, mean_of_losses, sum_over_classes,
)}  # fmt: skip
