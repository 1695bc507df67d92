"""Convolution against loops, SciPy and PyTorch; its backward by the bilinear identity <y, dy> = <x, dx> = <w, dw>."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import convolve2d, correlate2d
from strategies import assert_close, dtypes, image_cases, layouts, normal, seeds, unchanged, upload

from xpcnn import ops
from xpcnn.backend import to_host
from xpcnn.geometry import Window


@st.composite
def convolutions(draw):
    """(x, weight, bias or None, window, groups), arrays on the host."""
    (N, C, H, W), window = draw(image_cases())
    groups, dtype = draw(st.integers(1, 3)), draw(dtypes)
    O = draw(st.integers(1, 2)) * groups
    x, weight, bias = normal(draw(seeds), (N, C * groups, H, W), (O, C, *window["size"]), (O,), dtype=dtype)
    return x, weight, draw(st.sampled_from((bias, None))), window, groups


@given(convolutions(), layouts)
def test_conv(backend, case, layout):
    x, weight, bias, window, groups = case
    arguments = [upload(x, layout), upload(weight, layout)] + ([] if bias is None else [upload(bias)])
    with unchanged(*arguments):
        y = ops.conv(*arguments[:2], None if bias is None else arguments[2], Window(**window), groups)
    assert_close(y, reference.conv(x, weight, bias, window, groups), x.dtype)


@given(convolutions(), layouts, seeds)
def test_conv_backward(backend, case, layout, seed):
    x, weight, _, window, groups = case
    y_shape = reference.conv(x, weight, None, window, groups).shape
    dy, u, v = normal(seed, y_shape, x.shape, weight.shape)
    arguments = [upload(array.astype(x.dtype), layout) for array in (dy, x, weight)]
    with unchanged(*arguments):
        dx, dweight, dbias = ops.conv_backward(*arguments, Window(**window), groups)
    assert {dx.dtype, dweight.dtype, dbias.dtype} == {x.dtype}
    assert (dx.shape, dweight.shape) == (x.shape, weight.shape)
    close = {"rel": 1e-4, "abs": 1e-3} if x.dtype == "float32" else {"rel": 1e-9, "abs": 1e-10}
    along_x, along_weight = (reference.conv(*pair, None, window, groups) for pair in ((u, weight), (x, v)))
    assert reference.inner(u, to_host(dx)) == pytest.approx(reference.inner(along_x, dy), **close)
    assert reference.inner(v, to_host(dweight)) == pytest.approx(reference.inner(along_weight, dy), **close)
    np.testing.assert_allclose(to_host(dbias), dy.sum(axis=(0, 2, 3)), rtol=1e-4, atol=1e-4)


@given(convolutions())
def test_conv_backward_without_dx_gives_the_same_dweight_and_dbias(backend, case):
    x, weight, _, window, groups = case
    x, weight, ours = upload(x), upload(weight), Window(**window)
    dy = ops.conv(x, weight, None, ours, groups)
    _, *rest = ops.conv_backward(dy, x, weight, ours, groups)
    nothing, *others = ops.conv_backward(dy, x, weight, ours, groups, need_dx=False)
    assert nothing is None
    for one, other in zip(rest, others, strict=True):
        assert np.array_equal(to_host(one), to_host(other))


@given(seeds, st.sampled_from(("valid", "full")))
def test_scipy_correlates_and_convolves_with_the_flipped_kernel(backend, seed, mode):
    image, kernel = normal(seed, (6, 5), (3, 2))
    window = Window((3, 2), padding=(2, 1) if mode == "full" else 0)
    x, weight = upload(image[None, None]), upload(kernel[None, None])
    assert_close(ops.conv(x, weight, None, window)[0, 0], correlate2d(image, kernel, mode), "float64")
    turned = ops.conv(x, weight[:, :, ::-1, ::-1], None, window)[0, 0]
    assert_close(turned, convolve2d(image, kernel, mode), "float64")


@pytest.mark.parametrize("C", [2, 16])  # with 16 the NumPy kernel multiplies rows without unrolling
def test_a_batch_without_images(backend, C):
    x, weight = upload(np.ones((0, C, 4, 4))), upload(np.ones((3, C, 3, 3)))
    y = ops.conv(x, weight, None, Window(3))
    assert y.shape == (0, 3, 2, 2)
    dx, dweight, dbias = ops.conv_backward(y, x, weight, Window(3))
    assert dx.shape == x.shape
    assert not to_host(dweight).any()
    assert not to_host(dbias).any()


def test_nan_and_infinity_reach_only_the_windows_that_contain_them(backend):
    image = np.zeros((1, 1, 5, 5))
    image[0, 0, 0, 0], image[0, 0, 4, 4] = np.nan, np.inf
    y = to_host(ops.conv(upload(image), upload(np.ones((1, 1, 2, 2))), None, Window(2)))[0, 0]
    expected = np.zeros((4, 4))
    expected[0, 0], expected[3, 3] = np.nan, np.inf
    assert np.array_equal(y, expected, equal_nan=True)


@given(convolutions(), seeds)
def test_pytorch(torch, case, seed):
    x, weight, bias, window, groups = case
    ours = Window(**window | {"rounding": "floor"})
    try:
        (top, bottom), (left, right) = ours.pads(*x.shape[2:])
        y = ops.conv(x, weight, bias, ours, groups)
    except ValueError:  # it fits only with pixels beyond the padding
        return
    tx, tw = (torch.tensor(array, requires_grad=True) for array in (x, weight))
    tb = None if bias is None else torch.tensor(bias, requires_grad=True)
    padded = torch.nn.functional.pad(tx, (left, right, top, bottom))
    ty = torch.nn.functional.conv2d(padded, tw, tb, ours.stride, 0, ours.dilation, groups)
    assert_close(y, ty.detach().numpy(), x.dtype)
    dy = normal(seed, y.shape, dtype=x.dtype)
    ty.backward(torch.tensor(dy))
    dx, dweight, dbias = ops.conv_backward(dy, x, weight, ours, groups)
    close = {"rtol": 1e-4, "atol": 1e-4} if x.dtype == "float32" else {}
    assert_close(dx, tx.grad.numpy(), x.dtype, **close)
    assert_close(dweight, tw.grad.numpy(), x.dtype, **close)
    if tb is not None:
        assert_close(dbias, tb.grad.numpy(), x.dtype, **close)
