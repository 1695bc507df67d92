"""Batch and local response normalisation against loops and PyTorch; backward along a random direction."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_close, dtypes, layouts, normal, seeds, unchanged, upload

from xpcnn import ops
from xpcnn.backend import to_host

EPS = 1e-5
shapes = st.tuples(st.integers(2, 3), st.integers(1, 4)) | st.tuples(
    st.integers(1, 2), st.integers(1, 4), st.integers(2, 3), st.integers(1, 3)
)
neighbourhoods = st.tuples(
    st.integers(1, 6), st.sampled_from((0.5, 2.0)), st.sampled_from((0.75, 1.0)), st.sampled_from((1.0, 2.0))
)  # size, alpha, beta, k


@given(shapes, seeds, dtypes, layouts)
def test_batch_statistics(backend, shape, seed, dtype, layout):
    values = 2 * normal(seed, shape, dtype=dtype) + 5
    x = upload(values, layout)
    with unchanged(x):
        found = ops.batch_statistics(x)
    for ours, wanted in zip(found, reference.batch_statistics(values), strict=True):
        assert_close(ours, wanted, dtype)


@given(shapes, seeds, dtypes, layouts)
def test_batch_norm(backend, shape, seed, dtype, layout):
    C = shape[1]
    x, weight, bias, mean, variance = normal(seed, shape, C, C, C, C, dtype=dtype)
    variance = variance**2
    arguments = [upload(x, layout), *map(upload, (weight, bias, mean, variance))]
    with unchanged(*arguments):
        y = ops.batch_norm(*arguments, EPS)
    wanted = reference.batch_norm(x, weight, bias, mean, variance, EPS)
    scale = 1 + np.abs(weight / np.sqrt(variance + EPS)).max()
    assert_close(y, wanted, dtype, atol=scale * (1e-5 if dtype == "float32" else 1e-12))


@pytest.mark.parametrize("of_batch", [True, False])
@given(shapes, seeds, layouts)
def test_batch_norm_backward(backend, of_batch, shape, seed, layout):
    C = shape[1]
    x, dy, u = normal(seed, shape, shape, shape)
    weight, bias, v = normal(seed + 1, C, C, C)
    statistics = reference.batch_statistics(x)

    def forward(x, weight, bias):
        mean, variance = reference.batch_statistics(x) if of_batch else statistics
        return reference.batch_norm(x, weight, bias, mean, variance, 1e-2)

    arguments = [upload(dy, layout), upload(x, layout), *map(upload, (weight, *statistics))]
    with unchanged(*arguments):
        dx, dweight, dbias = ops.batch_norm_backward(*arguments, 1e-2, of_batch)
    assert (dx.shape, dweight.shape, dbias.shape) == (shape, (C,), (C,))
    for found, direction, along in (
        (dx, u, reference.derivative(lambda x: forward(x, weight, bias), x, u)),
        (dweight, v, reference.derivative(lambda weight: forward(x, weight, bias), weight, v)),
        (dbias, v, reference.derivative(lambda bias: forward(x, weight, bias), bias, v)),
    ):
        wanted = pytest.approx(reference.inner(along, dy), rel=1e-5, abs=1e-6)
        assert reference.inner(direction, to_host(found)) == wanted


@given(shapes, seeds, st.booleans())
def test_batch_norm_keeps_float32(backend, shape, seed, of_batch):
    C = shape[1]
    x, dy, weight, mean = map(upload, normal(seed, shape, shape, C, C, dtype="float32"))
    found = [
        *ops.batch_statistics(x),
        ops.batch_norm(x, weight, weight, mean, weight * weight, EPS),
        *ops.batch_norm_backward(dy, x, weight, mean, weight * weight, EPS, of_batch),
    ]
    assert {str(array.dtype) for array in found} == {"float32"}


@given(shapes, seeds, dtypes, layouts, neighbourhoods)
def test_local_response_norm(backend, shape, seed, dtype, layout, neighbourhood):
    values = normal(seed, shape, dtype=dtype)
    x = upload(values, layout)
    with unchanged(x):
        y, scale = ops.local_response_norm(x, *neighbourhood)
    assert_close(y, reference.local_response_norm(values, *neighbourhood), dtype)
    assert scale.dtype == dtype


@given(shapes, seeds, dtypes, layouts, neighbourhoods)
def test_local_response_norm_backward(backend, shape, seed, dtype, layout, neighbourhood):
    size, alpha, beta, k = neighbourhood
    values, cotangent, u = normal(seed, shape, shape, shape)
    dy, x = (upload(array.astype(dtype), layout) for array in (cotangent, values))
    _, scale = ops.local_response_norm(x, *neighbourhood)
    with unchanged(dy, x, scale):
        dx = ops.local_response_norm_backward(dy, x, scale, size, alpha, beta)
    assert (dx.shape, dx.dtype) == (shape, dtype)
    along = reference.derivative(lambda x: reference.local_response_norm(x, *neighbourhood), values, u)
    close = {"rel": 1e-3, "abs": 1e-4} if dtype == "float32" else {"rel": 1e-6, "abs": 1e-7}
    assert reference.inner(u, to_host(dx)) == pytest.approx(reference.inner(along, cotangent), **close)


@given(shapes, seeds, dtypes, neighbourhoods)
def test_pytorch_local_response_norm(torch, shape, seed, dtype, neighbourhood):
    if len(shape) < 3:
        shape = (*shape, 2)
    size, alpha, beta, k = neighbourhood
    values, dy = normal(seed, shape, shape, dtype=dtype)
    x = torch.tensor(values, requires_grad=True)
    theirs = torch.nn.functional.local_response_norm(x, size, alpha, beta, k)
    theirs.backward(torch.tensor(dy))
    y, scale = ops.local_response_norm(values, *neighbourhood)
    assert_close(y, theirs.detach().numpy(), dtype)
    dx = ops.local_response_norm_backward(dy, values, scale, size, alpha, beta)
    assert_close(dx, x.grad.numpy(), dtype)
