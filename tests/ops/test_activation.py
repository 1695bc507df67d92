"""Activations against `math`, element by element."""

import math

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_close, dtypes, layouts, normal, seeds, unchanged, upload

from xpcnn import ops
from xpcnn.backend import to_host

FUNCTIONS = {
    "relu": lambda x: max(x, 0.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
}
names = pytest.mark.parametrize("name", FUNCTIONS)
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@names
@given(shapes, seeds, dtypes, layouts)
def test_values(backend, name, shape, seed, dtype, layout):
    values = 3 * normal(seed, shape, dtype=dtype)
    x = upload(values, layout)
    with unchanged(x):
        y = getattr(ops, name)(x)
    assert_close(y, np.vectorize(FUNCTIONS[name], otypes=[float])(values), dtype)


@names
@given(shapes, seeds, dtypes, layouts)
def test_backward_is_the_derivative(backend, name, shape, seed, dtype, layout):
    function = np.vectorize(FUNCTIONS[name], otypes=[float])
    values, cotangent = normal(seed, shape, shape)
    values += np.copysign(1e-3, values)  # away from ReLU's kink
    dy, y = upload(cotangent.astype(dtype), layout), upload(function(values).astype(dtype), layout)
    with unchanged(dy, y):
        dx = getattr(ops, f"{name}_backward")(dy, y)
    slope = reference.derivative(function, values, np.ones(shape))
    assert_close(dx, cotangent * slope, dtype, rtol=1e-5, atol=1e-6)


def test_relu_passes_nothing_at_zero(backend):
    y = ops.relu(upload(np.array([-1.0, 0.0, 2.0])))
    assert to_host(ops.relu_backward(upload(np.ones(3)), y)).tolist() == [0, 0, 1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_far_from_zero_nothing_overflows(backend, dtype):
    x = upload(np.array([-np.inf, -1e4, -700, 700, 1e4, np.inf], dtype))
    assert_close(ops.sigmoid(x), [0, 0, 0, 1, 1, 1], dtype, rtol=0, atol=1e-300 if dtype == "float64" else 0)
    assert_close(ops.tanh(x), [-1, -1, -1, 1, 1, 1], dtype, rtol=0, atol=0)
    assert_close(ops.relu(x[1:]), [0, 0, 700, 1e4, np.inf], dtype, rtol=0, atol=0)


def test_sigmoid_is_exact_in_its_tail(backend):
    """Where 1 - sigmoid(-x) would be 0."""
    x = np.array([-40.0, -100.0])
    assert_close(ops.sigmoid(upload(x)), [math.exp(-40), math.exp(-100)], "float64", rtol=1e-14, atol=0)


@names
def test_nan_stays_nan(backend, name):
    y = getattr(ops, name)(upload(np.array([np.nan, 1.0])))
    assert np.isnan(to_host(y)).tolist() == [True, False]


@names
@given(seeds, dtypes)
def test_pytorch(torch, name, seed, dtype):
    values, dy = normal(seed, (3, 4), (3, 4), dtype=dtype)
    x = torch.tensor(values, requires_grad=True)
    y = getattr(torch, name)(x)
    y.backward(torch.tensor(dy))
    ours = getattr(ops, name)(values)
    assert_close(ours, y.detach().numpy(), dtype)
    assert_close(getattr(ops, f"{name}_backward")(dy, ours), x.grad.numpy(), dtype)


PIECEWISE = {  # our arguments, PyTorch's function of x
    "leaky_relu": ((0.2,), lambda F, x: F.leaky_relu(x, 0.2)),
    "clip": ((-0.5, 0.75), lambda F, x: F.hardtanh(x, -0.5, 0.75)),
}


@pytest.mark.parametrize("name", PIECEWISE)
@given(seeds, dtypes, layouts)
def test_piecewise_values_and_slopes(backend, name, seed, dtype, layout):
    arguments, _ = PIECEWISE[name]
    function = {
        "leaky_relu": lambda x: x if x > 0 else 0.2 * x,
        "clip": lambda x: min(max(x, -0.5), 0.75),
    }[name]
    values, cotangent = normal(seed, (3, 4, 2, 5), (3, 4, 2, 5), dtype=dtype)
    x, dy = upload(values, layout), upload(cotangent, layout)
    with unchanged(x, dy):
        y, dx = getattr(ops, name)(x, *arguments), getattr(ops, f"{name}_backward")(dy, x, *arguments)
    assert_close(y, np.vectorize(function, otypes=[float])(values), dtype)
    slope = {
        "leaky_relu": np.where(values > 0, 1, 0.2),
        "clip": (values > -0.5) & (values < 0.75),
    }[name]
    assert_close(dx, cotangent * slope, dtype)


@pytest.mark.parametrize("name", PIECEWISE)
@given(seeds, dtypes)
def test_piecewise_pytorch(torch, name, seed, dtype):
    arguments, function = PIECEWISE[name]
    values, dy = normal(seed, (3, 4), (3, 4), dtype=dtype)
    values.flat[:3] = -0.5, 0, 0.75  # where the slope changes
    x = torch.tensor(values, requires_grad=True)
    y = function(torch.nn.functional, x)
    y.backward(torch.tensor(dy))
    assert_close(getattr(ops, name)(values, *arguments), y.detach().numpy(), dtype)
    assert_close(getattr(ops, f"{name}_backward")(dy, values, *arguments), x.grad.numpy(), dtype)
