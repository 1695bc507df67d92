"""Normalisation of each sample by itself: in groups of channels, or over its last axes."""

import math

from xpcnn.backend import Array, accelerated
from xpcnn.kernels.precision import in_single
from xpcnn.ops.normalization import channel_sums, per_channel


@accelerated
@in_single
def group_norm(x: Array, weight: Array, bias: Array, groups: int, eps: float) -> Array:
    """Normalise the channels of each group together, sample by sample: (N,C,...) -> (N,C,...).

        y = weight[c] (x - mean) / sqrt(variance + eps) + bias[c]       mean, variance over C/G channels and all pixels

    Wu and He, "Group Normalization", ECCV 2018, equations 1 to 7.
    """
    normalized, _ = _normalize(_rows(x, groups), eps)
    normalized = normalized.reshape(x.shape)  # (N*G, C/G*...) -> (N, C, ...)
    return normalized * per_channel(weight, x.ndim) + per_channel(bias, x.ndim)


@accelerated
@in_single
def group_norm_backward(
    dy: Array, x: Array, weight: Array, groups: int, eps: float
) -> tuple[Array, Array, Array]:
    """Return (dx, dweight, dbias): dweight = sum dy xhat, dbias = sum dy, dx as in `layer_norm_backward`."""
    normalized, inverse = _normalize(_rows(x, groups), eps)
    dweight = channel_sums(dy * normalized.reshape(x.shape))  # (N*G, C/G*...) -> (N, C, ...)
    dx = _normalize_backward(_rows(dy * per_channel(weight, x.ndim), groups), normalized, inverse)
    return dx.reshape(x.shape), dweight, channel_sums(dy)  # (N*G, C/G*...) -> (N, C, ...)


@accelerated
@in_single
def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """Normalise the last axes, those of weight, then scale and shift them: (..., *weight.shape).

        y = weight (x - mean) / sqrt(variance + eps) + bias

    Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450, equation 4.
    """
    rows = x.reshape(-1, weight.size)  # (..., *shape) -> (M, I)
    normalized, _ = _normalize(rows, eps)
    return normalized.reshape(x.shape) * weight + bias  # (M, I) -> (..., *shape)


@accelerated
@in_single
def layer_norm_backward(dy: Array, x: Array, weight: Array, eps: float) -> tuple[Array, Array, Array]:
    """Return (dx, dweight, dbias).

    db = sum dy        dW = sum dy xhat        xhat = (x - mean) / sqrt(variance + eps)
    dx = (g - mean g - xhat mean(g xhat)) / sqrt(variance + eps),  g = W dy
    """
    normalized, inverse = _normalize(x.reshape(-1, weight.size), eps)  # (..., *shape) -> (M, I)
    rows = dy.reshape(normalized.shape)  # (..., *shape) -> (M, I)
    dweight, dbias = channel_sums(rows * normalized), channel_sums(rows)  # (I,)
    dx = _normalize_backward((dy * weight).reshape(normalized.shape), normalized, inverse)  # -> (M, I)
    return dx.reshape(x.shape), dweight.reshape(weight.shape), dbias.reshape(weight.shape)  # (I,) -> shape


def _rows(x: Array, groups: int) -> Array:
    """Make each group of channels of a sample, which is normalised together, a row."""
    return x.reshape(len(x) * groups, math.prod(x.shape[1:]) // groups)  # (N, C, ...) -> (N*G, C/G*...)


def _normalize(rows: Array, eps: float) -> tuple[Array, Array]:
    """Return xhat, and 1 / sqrt(variance + eps) of every row."""
    centered = rows - rows.mean(axis=1, keepdims=True)
    inverse = ((centered * centered).mean(axis=1, keepdims=True) + eps) ** -0.5
    return centered * inverse, inverse


def _normalize_backward(g: Array, normalized: Array, inverse: Array) -> Array:
    """Return (g - mean g - xhat mean(g xhat)) / sqrt(variance + eps) of every row."""
    along = (g * normalized).mean(axis=1, keepdims=True)
    return inverse * (g - g.mean(axis=1, keepdims=True) - normalized * along)
