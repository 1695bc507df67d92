"""Normalisation: over the batch, channel by channel; and over neighbouring channels, pixel by pixel."""

from xpcnn.backend import Array, accelerated, xp
from xpcnn.kernels.precision import computing, in_single


def per_channel(values: Array, ndim: int) -> Array:
    """Reshape (C,) so that it broadcasts along axis 1 of an array with `ndim` axes."""
    return values.reshape(1, -1, *(1,) * (ndim - 2))  # (C,) -> (1, C, 1, ...)


def channel_sums(x: Array) -> Array:
    """Add up every channel: (N,C,...) -> (C,). NumPy adds rows in memory pairwise, which keeps more digits."""
    C = x.shape[1]
    rows = xp.ascontiguousarray(x.swapaxes(0, 1))  # (N, C, ...) -> (C, N, ...)
    return rows.reshape(C, x.size // max(C, 1)).sum(axis=1)  # (C, N*...) -> (C,)


@accelerated
def batch_statistics(x: Array) -> tuple[Array, Array]:
    """Return mean and (biased) variance of every channel, (C,) each, over the batch and all pixels.

    For x in half precision they are in single: the variance of values of 300 is too large for half.
    """
    x, M = x.astype(computing(x.dtype), copy=False), x.size // x.shape[1]
    mean = channel_sums(x) / M
    centered = x - per_channel(mean, x.ndim)
    return mean, channel_sums(centered * centered) / M


@accelerated
@in_single
def batch_norm(x: Array, weight: Array, bias: Array, mean: Array, variance: Array, eps: float) -> Array:
    """Normalise each channel, then scale and shift it: (N,C,...) -> (N,C,...).

        y = weight (x - mean) / sqrt(variance + eps) + bias

    In training mean and variance are those of the batch, in evaluation the running ones.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization", ICML 2015, algorithm 1 and section 3.2.
    """
    scale = weight / xp.sqrt(variance + eps)
    return (x - per_channel(mean, x.ndim)) * per_channel(scale, x.ndim) + per_channel(bias, x.ndim)


@accelerated
@in_single
def batch_norm_backward(
    dy: Array, x: Array, weight: Array, mean: Array, variance: Array, eps: float, of_batch: bool
) -> tuple[Array, Array, Array]:
    """Return (dx, dweight, dbias).

        db = sum dy        dW = sum dy xhat        xhat = (x - mean) / sqrt(variance + eps)
        dx = W / sqrt(variance + eps) (dy - db / M - xhat dW / M)        M values a channel

    If mean and variance are constants (not `of_batch`), the last two terms are zero.
    """
    inverse = 1 / xp.sqrt(variance + eps)
    normalized = (x - per_channel(mean, x.ndim)) * per_channel(inverse, x.ndim)
    dweight, dbias = channel_sums(dy * normalized), channel_sums(dy)
    dx = dy
    if of_batch:
        M = x.size // x.shape[1]
        dx = dy - per_channel(dbias / M, x.ndim) - normalized * per_channel(dweight / M, x.ndim)
    return dx * per_channel(weight * inverse, x.ndim), dweight, dbias


@accelerated
def local_response_norm(x: Array, size: int, alpha: float, beta: float, k: float) -> tuple[Array, Array]:
    """Return y and its scale: (N,C,...) -> two of (N,C,...). For x in half precision the scale is in single.

        scale[c] = k + alpha / size  sum of x[d]^2,  d from c - size // 2 to c + (size - 1) // 2
        y[c] = x[c] / scale[c]^beta

    Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
    NIPS 2012, section 3.3, write alpha for our alpha / size.
    """
    dtype, x = x.dtype, x.astype(computing(x.dtype), copy=False)
    scale = k + alpha / size * channel_sum(x * x, size // 2, (size - 1) // 2)
    return (x * scale**-beta).astype(dtype, copy=False), scale


@accelerated
@in_single
def local_response_norm_backward(
    dy: Array, x: Array, scale: Array, size: int, alpha: float, beta: float
) -> Array:
    """dx[c] = dy[c] / scale[c]^beta - 2 alpha beta / size  x[c]  sum of dy[d] x[d] / scale[d]^(beta + 1).

    The sum is over all d whose neighbourhood contains c.
    """
    power = scale**-beta
    spread = channel_sum(dy * x * power / scale, (size - 1) // 2, size // 2)
    return dy * power - (2 * alpha * beta / size) * x * spread


def channel_sum(x: Array, before: int, after: int) -> Array:
    """Add to every channel its `before` and `after` neighbours; beyond the first and the last there are zeros."""
    C, beyond = x.shape[1], [(0, 0)] * (x.ndim - 2)
    padded = xp.pad(x, [(0, 0), (before, after), *beyond])
    return sum(padded[:, d : d + C] for d in range(before + after + 1))
