"""Factors of channels and channels of zeros, element by element; backward along a random direction."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_close, dtypes, layouts, normal, seeds, unchanged, upload

from xpcnn import ops
from xpcnn.backend import to_host

shapes = st.lists(st.integers(1, 3), min_size=2, max_size=4).map(tuple)


def loops(x, weight, bias):
    y = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        y[index] = float(weight[index[1]]) * float(x[index]) + bias[index[1]]
    return y


@given(shapes, seeds, dtypes, layouts)
def test_channel_scale(backend, shape, seed, dtype, layout):
    x, weight, bias = normal(seed, shape, shape[1], shape[1], dtype=dtype)
    arguments = upload(x, layout), upload(weight), upload(bias)
    with unchanged(*arguments):
        y = ops.channel_scale(*arguments)
    assert_close(y, loops(x, weight, bias), dtype)


@given(shapes, seeds, dtypes, layouts)
def test_channel_scale_backward(backend, shape, seed, dtype, layout):
    C = shape[1]
    dy, x, u, weight, v = normal(seed, shape, shape, shape, C, C, dtype=dtype)
    arguments = upload(dy, layout), upload(x, layout), upload(weight)
    with unchanged(*arguments):
        dx, dweight, dbias = ops.channel_scale_backward(*arguments)
        nothing, *rest = ops.channel_scale_backward(*arguments, need_dx=False)
    assert {str(dx.dtype), str(dweight.dtype), str(dbias.dtype)} == {dtype}
    assert_close(dx, loops(dy, weight, 0 * weight), dtype)
    close = {"rel": 1e-4, "abs": 1e-4}
    assert reference.inner(v, to_host(dweight)) == pytest.approx(
        reference.inner(loops(x, v, 0 * v), dy), **close
    )
    assert reference.inner(v, to_host(dbias)) == pytest.approx(
        reference.inner(loops(0 * x, v, v), dy), **close
    )
    assert nothing is None
    assert all(np.array_equal(to_host(a), to_host(b)) for a, b in zip(rest, (dweight, dbias), strict=True))


@given(shapes, st.integers(0, 3), seeds, dtypes, layouts)
def test_pad_channels(backend, shape, extra, seed, dtype, layout):
    values = normal(seed, shape, dtype=dtype)
    x = upload(values, layout)
    with unchanged(x):
        y = ops.pad_channels(x, extra)
    wanted = np.zeros((shape[0], shape[1] + extra, *shape[2:]))
    wanted[:, : shape[1]] = values
    assert_close(y, wanted, dtype, rtol=0, atol=0)
