"""conv_backward and affine_backward write dW into `out`: the same bits as without it, whatever was there before."""

import numpy as np
import pytest

from xpcnn import ops
from xpcnn.backend import active_backend, to_device, to_host, use_backend, xp
from xpcnn.geometry import Window

CHOICES = [
    (backend, kernels) for backend in ("numpy", "simulated") for kernels in ("tuned", "pure", "reference")
]


@pytest.fixture(params=CHOICES, ids="-".join)
def _kernels(request):
    backend, kernels = request.param
    with use_backend(backend, kernels):
        if backend == "simulated" and kernels != "reference" and not active_backend().kernels:
            pytest.skip(active_backend().remark)
        yield


def drawn(*shapes, dtype):
    rng = np.random.default_rng(0)
    return [to_device(rng.standard_normal(shape).astype(dtype)) for shape in shapes]


def assert_written(op, weight, *arguments):
    """Compare with the gradient that is an array of its own; `out` is part of a longer buffer, full of NaN."""
    dx, dweight, dbias = op(*arguments)
    buffer = xp.full(weight.size + 64, xp.nan, weight.dtype)
    out = buffer[32 : 32 + weight.size].reshape(weight.shape)
    dx_too, written, dbias_too = op(*arguments, out=out)
    for array, twin in ((dx, dx_too), (dweight, written), (dbias, dbias_too)):
        assert twin.dtype == array.dtype
        np.testing.assert_array_equal(to_host(twin), to_host(array))
    if weight.dtype != np.float16:  # half is rounded once, from single
        assert written is out
        assert np.isnan(to_host(buffer)[:32]).all()
        assert np.isnan(to_host(buffer)[32 + weight.size :]).all()


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("channels", "filters", "groups", "options"),
    [(3, 5, 1, {}), (4, 6, 2, {"padding": 1}), (4, 4, 4, {"stride": 2}), (8, 9, 1, {"dilation": 2})],
)
def test_convolution(channels, filters, groups, options, dtype):
    window = Window(3, **options)
    x, weight = drawn((4, channels, 9, 8), (filters, channels // groups, 3, 3), dtype=dtype)
    (dy,) = drawn((4, filters, *window.output_size(9, 8)), dtype=dtype)
    assert_written(ops.conv_backward, weight, dy, x, weight, window, groups)


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_affine(dtype):
    dy, x, weight = drawn((6, 5), (6, 7), (5, 7), dtype=dtype)
    assert_written(ops.affine_backward, weight, dy, x, weight)
