"""Distances to fixed points: what LeNet-5 reads its answer from."""

from xpcnn.backend import Array, accelerated
from xpcnn.kernels.precision import in_single


@accelerated
@in_single
def radial_basis(x: Array, centers: Array) -> Array:
    """y[m, d] = -sum over i of (x[m, i] - centers[d, i])^2: (M,I) -> (M,D). The nearest has the largest y."""
    return -((x[:, None] - centers) ** 2).sum(axis=2)


@accelerated
@in_single
def radial_basis_backward(dy: Array, x: Array, centers: Array) -> Array:
    """dx[m] = -2 sum over d of dy[m, d] (x[m] - centers[d]); the centers are given, not learnt."""
    return 2 * (dy @ centers - x * dy.sum(axis=1, keepdims=True))
