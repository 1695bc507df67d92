"""relu_max_pool is max_pool(relu(x)), number for number, and its backward the chain rule's."""

import numpy as np
import pytest
from strategies import upload

from xpcnn import ops
from xpcnn.backend import to_host
from xpcnn.geometry import Window


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("size", "window"),
    [
        ((6, 8), Window(2)),
        ((7, 9), Window(3, 2)),
        ((5, 6), Window((3, 2), (1, 3), ((0, 2), (1, 0)))),
        ((6, 7), Window(3, 2, 1, rounding="ceil")),
    ],
)
def test_the_maximum_may_be_taken_first(backend, size, window, dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(-4, 4, (3, 2, *size)).astype(dtype)  # with ties, and windows that have no positive pixel
    x[0, 0, 2, 3] = np.nan
    y, winner = ops.relu_max_pool(upload(x), window)
    wanted, _ = ops.max_pool(ops.relu(upload(x)), window)
    np.testing.assert_array_equal(to_host(y), to_host(wanted))
    assert y.dtype == dtype
    x = np.nan_to_num(x)
    y, winner = ops.relu_max_pool(upload(x), window)
    relu = ops.relu(upload(x))
    _, of_relu = ops.max_pool(relu, window)
    dy = upload(rng.integers(1, 5, y.shape).astype(dtype))
    found = ops.relu_max_pool_backward(dy, y, winner, size, window)
    wanted = ops.relu_backward(ops.max_pool_backward(dy, of_relu, size, window), relu)
    np.testing.assert_array_equal(to_host(found), to_host(wanted))
