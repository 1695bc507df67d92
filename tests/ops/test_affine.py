"""The affine map against loops, and its backward by the bilinear identity."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from strategies import TOLERANCE, assert_close, dtypes, layouts, normal, seeds, unchanged, upload

from xpcnn import ops
from xpcnn.backend import to_host

shapes = st.lists(st.integers(1, 3), min_size=1, max_size=3).flatmap(
    lambda leading: st.tuples(st.just(leading), st.integers(1, 5), st.integers(1, 4))
)


def loops(x, weight, bias):
    y = np.empty((*x.shape[:-1], len(weight)))
    for *m, o in np.ndindex(y.shape):
        y[*m, o] = sum(float(a) * float(b) for a, b in zip(x[*m], weight[o], strict=True)) + bias[o]
    return y


@given(shapes, seeds, dtypes, layouts)
def test_affine(backend, sizes, seed, dtype, layout):
    leading, I, O = sizes
    x, weight, bias = normal(seed, (*leading, I), (O, I), (O,), dtype=dtype)
    arguments = upload(x, layout), upload(weight, layout), upload(bias)
    with unchanged(*arguments):
        y = ops.affine(*arguments)
        without = ops.affine(*arguments[:2], None)
    assert_close(y, loops(x, weight, bias), dtype)
    assert_close(without, loops(x, weight, 0 * bias), dtype)


@given(shapes, seeds, dtypes, layouts)
def test_affine_backward(backend, sizes, seed, dtype, layout):
    leading, I, O = sizes
    dy, x, weight, u, v = normal(
        seed, (*leading, O), (*leading, I), (O, I), (*leading, I), (O, I), dtype=dtype
    )
    arguments = [upload(array, layout) for array in (dy, x, weight)]
    with unchanged(*arguments):
        dx, dweight, dbias = ops.affine_backward(*arguments)
        nothing, *rest = ops.affine_backward(*arguments, need_dx=False)
    assert {dx.dtype, dweight.dtype, dbias.dtype} == {np.dtype(dtype)}
    assert (dx.shape, dweight.shape) == (x.shape, weight.shape)
    zero = np.zeros(O)
    close = {"rel": 1e-4, "abs": 1e-4}
    assert reference.inner(u, to_host(dx)) == pytest.approx(
        reference.inner(loops(u, weight, zero), dy), **close
    )
    assert reference.inner(v, to_host(dweight)) == pytest.approx(
        reference.inner(loops(x, v, zero), dy), **close
    )
    np.testing.assert_allclose(to_host(dbias), dy.reshape(-1, O).sum(axis=0), **TOLERANCE[dtype])
    assert nothing is None
    assert all(np.array_equal(to_host(a), to_host(b)) for a, b in zip(rest, (dweight, dbias), strict=True))
