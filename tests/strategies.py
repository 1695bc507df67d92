"""Small odd cases for hypothesis, arrays in every memory layout, and a watch over arguments."""

import itertools
from contextlib import contextmanager

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from reference import field, positions

from xpcnn.backend import to_device, to_host, xp

FLOATS = ("float32", "float64")
LAYOUTS = ("C", "Fortran", "strided", "reversed")
TOLERANCE = {"float32": {"rtol": 2e-5, "atol": 2e-5}, "float64": {"rtol": 1e-11, "atol": 1e-11}}

seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(FLOATS)
layouts = st.sampled_from(LAYOUTS)


def pairs(elements):
    return st.tuples(elements, elements)


@st.composite
def windows(draw, *, pooling=False):
    """A window as keyword arguments, in pairs: see reference.py. For pooling the padding is below the size."""
    size = draw(pairs(st.integers(1, 3)))
    if pooling:
        padding = st.tuples(*(pairs(st.integers(0, length - 1)) for length in size))
    else:
        padding = pairs(pairs(st.integers(0, 3)))
    return {
        "size": size,
        "stride": draw(pairs(st.integers(1, 4))),  # larger than the size, too: pixels that no window sees
        "padding": draw(padding | st.just("same")),
        "dilation": draw(pairs(st.integers(1, 3 if pooling else 2))),
        "rounding": draw(st.sampled_from(("floor", "ceil"))),
    }


@st.composite
def image_cases(draw, *, pooling=False):
    """(shape of the images, window) such that the window fits somewhere, and for pooling meets a pixel everywhere."""
    window = draw(windows(pooling=pooling))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *draw(pairs(st.integers(1, 7))))
    try:
        rows, columns = positions(shape[2:], window)
    except ValueError:
        assume(False)
    if pooling:
        assume(all(any(field(shape[2:], window, p, q)) for p in rows for q in columns))
    return shape, window


def normal(seed, *shapes, dtype="float64"):
    """Return host arrays drawn from N(0, 1)."""
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    return arrays[0] if len(arrays) == 1 else arrays


def distinct(seed, shape, dtype="float64"):
    """Return a host array of values far from each other and from zero, away from the kinks of max and ReLU."""
    size = int(np.prod(shape))
    ranks = np.random.default_rng(seed).permutation(size)
    return ((ranks - size // 2 + 0.5) / 8).reshape(shape).astype(dtype)


def upload(array, layout="C"):
    """Return the array on the active device, in one of LAYOUTS: ops may assume no memory order."""
    array = to_device(array)
    if layout == "Fortran":
        return xp.ascontiguousarray(array.T).T
    if layout == "strided":
        spread = xp.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        spread[..., ::2] = array
        return spread[..., ::2]
    if layout == "reversed":
        return xp.ascontiguousarray(array[..., ::-1])[..., ::-1]
    return xp.ascontiguousarray(array)


def assert_close(actual, expected, dtype, **tolerance):
    """Compare a device array with a host one: shape, dtype and values."""
    assert actual.dtype == dtype
    assert actual.shape == np.shape(expected)
    np.testing.assert_allclose(to_host(actual), expected, **{**TOLERANCE[str(np.dtype(dtype))], **tolerance})


@contextmanager
def unchanged(*arrays):
    """Assert that the block writes into none of the arrays."""
    before = [to_host(array).copy() for array in arrays]
    yield
    for number, (array, copy) in enumerate(zip(arrays, before, strict=True)):
        assert np.array_equal(to_host(array), copy, equal_nan=True), f"argument {number} was written to"


def all_pairs(*choices):
    """Return every combination, for pytest.mark.parametrize."""
    return list(itertools.product(*choices))
