"""Activations, elementwise; each backward is written in terms of the output y."""

from xpcnn.backend import Array, accelerated, xp
from xpcnn.kernels.precision import in_single


@accelerated
def relu(x: Array) -> Array:
    """max(x, 0). Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", ICML 2010."""
    return xp.maximum(x, 0)


@accelerated
def relu_backward(dy: Array, y: Array) -> Array:
    """dx = dy where x > 0, else 0 (at x = 0 too)."""
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
    """dx = dy y (1 - y)."""
    return dy * y * (1 - y)


@accelerated
@in_single
def tanh(x: Array) -> Array:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    return xp.tanh(x)


@accelerated
@in_single
def tanh_backward(dy: Array, y: Array) -> Array:
    """dx = dy (1 - y^2)."""
    return dy * (1 - y * y)


@accelerated
def leaky_relu(x: Array, slope: float) -> Array:
    """x where x > 0, slope x elsewhere. Maas et al., "Rectifier Nonlinearities ...", ICML 2013."""
    return xp.where(x > 0, x, slope * x)


@accelerated
def leaky_relu_backward(dy: Array, x: Array, slope: float) -> Array:
    """dx = dy where x > 0, slope dy elsewhere (at x = 0 too)."""
    return xp.where(x > 0, dy, slope * dy)


@accelerated
def clip(x: Array, low: float, high: float) -> Array:
    """min(max(x, low), high)."""
    return xp.minimum(xp.maximum(x, low), high)


@accelerated
def clip_backward(dy: Array, x: Array, low: float, high: float) -> Array:
    """dx = dy where low < x < high, else 0 (at both ends too)."""
    return dy * ((x > low) & (x < high))
