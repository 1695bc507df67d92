"""Pooling against loops and PyTorch; backward by the derivative along a random direction."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_close, dtypes, image_cases, layouts, normal, pairs, seeds, unchanged, upload

from xpcnn import ops
from xpcnn.backend import to_host, xp
from xpcnn.geometry import Window

cases = image_cases(pooling=True)


def with_ties(seed, shape, dtype):
    """Return images of few different values, so that windows hold equal maxima."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(dtype)


@given(cases, seeds, dtypes, layouts)
def test_max_pool_and_the_first_of_equals_wins(backend, case, seed, dtype, layout):
    shape, window = case
    image = with_ties(seed, shape, dtype)
    x = upload(image, layout)
    with unchanged(x):
        y, winner = ops.max_pool(x, Window(**window))
    best, first = reference.max_pool(image, window)
    assert_close(y, best, dtype, rtol=0, atol=0)
    assert winner.dtype == "uint8"
    assert np.array_equal(to_host(winner), first)


@given(cases, seeds, dtypes, layouts)
def test_max_pool_backward(backend, case, seed, dtype, layout):
    shape, window = case
    best, first = reference.max_pool(with_ties(seed, shape, dtype), window)
    dy, u = normal(seed, best.shape, shape, dtype=dtype)
    arguments = upload(dy, layout), xp.asarray(first, dtype=xp.uint8)
    with unchanged(*arguments):
        dx = ops.max_pool_backward(*arguments, shape[2:], Window(**window))
    assert (dx.shape, dx.dtype) == (shape, dtype)
    along = reference.inner(reference.select(u, first, window), dy)
    assert reference.inner(u, to_host(dx)) == pytest.approx(along, rel=1e-4, abs=1e-4)


@given(cases, seeds, dtypes, layouts, st.booleans())
def test_average_pool(backend, case, seed, dtype, layout, count_include_pad):
    shape, window = case
    image = normal(seed, shape, dtype=dtype)
    x = upload(image, layout)
    with unchanged(x):
        y = ops.average_pool(x, Window(**window), count_include_pad)
    assert_close(y, reference.average_pool(image, window, count_include_pad), dtype)


@given(cases, seeds, dtypes, layouts, st.booleans())
def test_average_pool_backward(backend, case, seed, dtype, layout, count_include_pad):
    shape, window = case
    u = normal(seed, shape, dtype=dtype)
    along = reference.average_pool(u, window, count_include_pad)
    dy = normal(seed + 1, along.shape, dtype=dtype)
    given = upload(dy, layout)
    with unchanged(given):
        dx = ops.average_pool_backward(given, shape[2:], Window(**window), count_include_pad)
    assert (dx.shape, dx.dtype) == (shape, dtype)
    assert reference.inner(u, to_host(dx)) == pytest.approx(reference.inner(along, dy), rel=1e-4, abs=1e-4)


def test_the_winner_of_a_window_of_more_than_256_pixels(backend):
    image = np.zeros((1, 1, 17, 17))
    image[0, 0, 16, 15] = 1
    y, winner = ops.max_pool(upload(image), Window(17))
    assert (float(y[0, 0, 0, 0]), int(winner[0, 0, 0, 0])) == (1.0, 16 * 17 + 15)
    dx = to_host(ops.max_pool_backward(upload(np.full((1, 1, 1, 1), 3.0)), winner, (17, 17), Window(17)))
    assert np.array_equal(dx, 3 * image)


def test_max_pool_keeps_nan_and_infinity(backend):
    image = np.array([[1.0, np.nan, 2.0, 1.0], [0.0, 0.0, np.inf, -np.inf]])[None, None]
    y, _ = ops.max_pool(upload(image), Window(2, 2))
    assert np.array_equal(to_host(y)[0, 0], [[np.nan, np.inf]], equal_nan=True)


def test_average_pool_keeps_nan_and_infinity(backend):
    image = np.array([[1.0, np.nan, 2.0, 1.0, -np.inf, 1], [0.0, 0.0, np.inf, 5, 0, 2]])[None, None]
    for dtype in ("float16", "float32", "float64"):
        y = ops.average_pool(upload(image.astype(dtype)), Window(2, 2))
        assert np.array_equal(to_host(y)[0, 0], [[np.nan, np.inf, -np.inf]], equal_nan=True)


def test_a_window_between_the_pixels_has_mean_zero(backend):
    """Taps at a distance of 5 around an image of 3: they are in no pixel, or in padding alone."""
    for image_size, size in (((3, 3), 2), ((3, 1), (2, 1))):
        window = Window(size, 1, 1 if size == 2 else ((1, 2), (0, 0)), 4 if size == 2 else (4, 1))
        image = np.ones((1, 1, *image_size), np.float32)
        for count_include_pad in (False, True):
            y = ops.average_pool(upload(image), window, count_include_pad)
            assert to_host(y).ravel()[0] == 0
            dx = ops.average_pool_backward(
                upload(np.ones(y.shape, np.float32)), image_size, window, count_include_pad
            )
            assert np.isfinite(to_host(dx)).all()
            total = float(to_host(y).sum())
            assert float((to_host(dx) * image).sum()) == pytest.approx(
                total
            )  # the adjoint, at images of ones


def test_padding_never_wins(backend):
    image = np.array([[-5.0, -3.0], [-4.0, -6.0]])[None, None]
    y, winner = ops.max_pool(upload(image), Window(2, padding=1))
    assert to_host(y)[0, 0].tolist() == [[-5, -3, -3], [-4, -3, -3], [-4, -4, -6]]
    assert to_host(winner)[0, 0].tolist() == [[3, 3, 2], [3, 1, 0], [1, 0, 0]]


torch_windows = st.tuples(
    pairs(st.integers(1, 3)), pairs(st.integers(1, 4)), pairs(st.integers(1, 3)), st.booleans()
)


@given(
    torch_windows, st.tuples(st.integers(1, 2), st.integers(1, 3), *[st.integers(2, 7)] * 2), seeds, dtypes
)
def test_pytorch(torch, sizes, shape, seed, dtype):
    F = torch.nn.functional
    size, stride, dilation, ceil = sizes
    padding = tuple(length // 2 for length in size)  # the most that PyTorch allows
    if any(length + 2 * p < k for length, p, k in zip(shape[2:], padding, size, strict=True)):
        return
    window = Window(size, stride, padding, rounding="ceil" if ceil else "floor")
    dilated = Window(size, stride, padding, dilation, window.rounding)
    x = with_ties(seed, shape, dtype)

    for each in (window, dilated):
        extents = zip(shape[2:], padding, each.extent, strict=True)
        if any(length + 2 * p < extent for length, p, extent in extents):
            continue
        tx = torch.tensor(x, requires_grad=True)
        ty = F.max_pool2d(tx, size, stride, padding, each.dilation, ceil)
        y, winner = ops.max_pool(x, each)
        assert_close(y, ty.detach().numpy(), dtype)
        if np.isneginf(y).any():  # a window without pixels: PyTorch still gives its gradient to one
            continue
        dy = normal(seed, y.shape, dtype=dtype)
        ty.backward(torch.tensor(dy))
        assert_close(ops.max_pool_backward(dy, winner, shape[2:], each), tx.grad.numpy(), dtype)

    tx = torch.tensor(x, requires_grad=True)
    dy = normal(seed, (*shape[:2], *window.output_size(*shape[2:])), dtype=dtype)
    for count_include_pad in (False, True):
        tx.grad = None
        ty = F.avg_pool2d(tx, size, stride, padding, ceil_mode=ceil, count_include_pad=count_include_pad)
        assert_close(ops.average_pool(x, window, count_include_pad), ty.detach().numpy(), dtype)
        ty.backward(torch.tensor(dy))
        dx = ops.average_pool_backward(dy, shape[2:], window, count_include_pad)
        assert_close(dx, tx.grad.numpy(), dtype)
