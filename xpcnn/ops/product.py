"""The product of two results: one of them may be a gate with one number for each channel."""

from xpcnn.backend import Array, accelerated
from xpcnn.kernels.precision import in_single


@accelerated
def product(x: Array, gate: Array) -> Array:
    """y = x gate, elementwise: the gate has x's shape, or one number a channel, (N,C) or (N,C,1,...)."""
    return x * _aligned(gate, x.ndim)


@accelerated
@in_single
def product_backward(dy: Array, x: Array, gate: Array) -> tuple[Array, Array]:
    """Return (dx, dgate): dx = dy gate, dgate = dy x, summed over the pixels that share one number of the gate."""
    dgate = dy * x
    if gate.shape != x.shape:
        dgate = dgate.sum(axis=tuple(range(2, x.ndim))).reshape(
            gate.shape
        )  # (N, C) -> (N, C) or (N, C, 1, ...)
    return dy * _aligned(gate, x.ndim), dgate


def _aligned(gate: Array, ndim: int) -> Array:
    """Give the gate `ndim` axes."""
    return gate.reshape(*gate.shape, *[1] * (ndim - gate.ndim))  # (N, C) -> (N, C, 1, ...)
