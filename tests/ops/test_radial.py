"""Distances to fixed points, pair by pair."""

import math

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_close, dtypes, layouts, normal, seeds, unchanged, upload

from xpcnn import ops
from xpcnn.backend import to_host

sizes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5))  # M, I, D


def loops(x, centers):
    return np.array(
        [[-(math.dist(map(float, row), map(float, center)) ** 2) for center in centers] for row in x]
    )


@given(sizes, seeds, dtypes, layouts)
def test_radial_basis(backend, size, seed, dtype, layout):
    M, I, D = size
    x, centers = normal(seed, (M, I), (D, I), dtype=dtype)
    arguments = upload(x, layout), upload(centers)
    with unchanged(*arguments):
        y = ops.radial_basis(*arguments)
    assert_close(y, loops(x, centers), dtype)


@given(sizes, seeds, dtypes, layouts)
def test_radial_basis_backward(backend, size, seed, dtype, layout):
    M, I, D = size
    dy, x, u, centers = normal(seed, (M, D), (M, I), (M, I), (D, I))
    arguments = [upload(array.astype(dtype), layout) for array in (dy, x, centers)]
    with unchanged(*arguments):
        dx = ops.radial_basis_backward(*arguments)
    assert (dx.shape, dx.dtype) == (x.shape, dtype)
    along = reference.inner(reference.derivative(lambda x: loops(x, centers), x, u), dy)
    assert reference.inner(u, to_host(dx)) == pytest.approx(along, rel=1e-4, abs=1e-4)
