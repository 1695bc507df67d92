"""Softmax, and softmax fused with the cross-entropy: together their gradient is p - t."""

from xpcnn.backend import Array, accelerated, xp
from xpcnn.kernels.precision import computing, in_single


@accelerated
@in_single
def softmax(x: Array, axis: int = -1) -> Array:
    """exp(x) / sum exp(x) along an axis. Subtracting the maximum changes nothing and never overflows."""
    e = xp.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@accelerated
@in_single
def softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    """dx = y (dy - <dy, y>)."""
    return y * (dy - (dy * y).sum(axis=axis, keepdims=True))


@accelerated
def softmax_cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Return the mean loss and the probabilities, from logits z of (M,D).

        L = 1/M sum over m of  -log p[m, t[m]]        log p = z - max z - log sum exp(z - max z)

    labels are integers t of (M,), or rows of target probabilities (M,D), one-hot for instance; then
    L = 1/M sum of -t log p. The logarithm of a tiny p is never taken, so logits of 1e4 are safe. For logits in half
    precision the loss is in single, since it may be too large for half.
    """
    dtype, logits = logits.dtype, logits.astype(computing(logits.dtype), copy=False)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))
    if labels.ndim == 1:
        losses = -xp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]  # (M,)
        valid = (labels >= 0) & (labels < logits.shape[1])
        losses = xp.where(valid, losses, xp.nan)  # CuPy takes an index modulo the length, without an error
    else:
        losses = -(labels * xp.where(labels != 0, log_p, 0)).sum(axis=1)  # (M,), with 0 log 0 = 0
    return losses.mean(), xp.exp(log_p).astype(dtype, copy=False)


@accelerated
@in_single
def softmax_cross_entropy_backward(probabilities: Array, labels: Array) -> Array:
    """dlogits = (p - t) / M, with t one-hot: (M,D).

    For rows t that do not sum to one, dlogits = (p sum(t) - t) / M: a row of zeros gives no gradient.
    """
    M, D = probabilities.shape
    if labels.ndim == 1:
        return (probabilities - (labels[:, None] == xp.arange(D))) / M
    targets = labels.astype(probabilities.dtype, copy=False)
    return (probabilities * targets.sum(axis=1, keepdims=True) - targets) / M
