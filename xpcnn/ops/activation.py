"""Activations, elementwise; each backward is written in terms of the output y."""

from xpcnn.backend import Array, accelerated, xp
from xpcnn.precision import in_single


@accelerated
def relu(x: Array) -> Array:
    """max(x, 0). Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", ICML 2010."""
    return xp.maximum(x, 0)


@accelerated
def relu_backward(dy: Array, y: Array) -> Array:
    """Dx = dy where x > 0, else 0 (at x = 0 too)."""
    return dy * (y > 0)


@accelerated
@in_single
def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), written so that exp never overflows."""
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1 / (1 + e), e / (1 + e))


@accelerated
@in_single
def sigmoid_backward(dy: Array, y: Array) -> Array:
    """Dx = dy y (1 - y)."""
    return dy * y * (1 - y)


@accelerated
@in_single
def tanh(x: Array) -> Array:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    return xp.tanh(x)


@accelerated
@in_single
def tanh_backward(dy: Array, y: Array) -> Array:
    """Dx = dy (1 - y^2)."""
    return dy * (1 - y * y)
