"""The book's functions of arrays (``common/functions.py``, chapters 3 and 4)."""

from xpcnn import ops
from xpcnn.backend import Array, xp


def identity_function(x: Array) -> Array:
    """Return x."""
    return x


def step_function(x: Array) -> Array:
    """1 where x > 0, else 0, as integers. (The book's ``np.int`` is gone from NumPy.)"""
    return (x > 0).astype(xp.int64)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)); the book's warns of an overflow far below zero, this one has none."""
    return ops.sigmoid(x)


def sigmoid_grad(x: Array) -> Array:
    """The derivative of sigmoid at x."""
    y = ops.sigmoid(x)
    return ops.sigmoid_backward(xp.ones_like(y), y)


def relu(x: Array) -> Array:
    """max(x, 0)."""
    return ops.relu(x)


def relu_grad(x: Array) -> Array:
    """1 where x > 0, else 0, as the layer has it. (The book says 1 at x = 0, and takes x for a shape.)"""
    return ops.relu_backward(xp.ones_like(x), ops.relu(x))


def softmax(x: Array) -> Array:
    """exp(x) / sum exp(x) along the last axis."""
    return ops.softmax(x)


def mean_squared_error(y: Array, t: Array) -> Array:
    """1/2 sum (y - t)^2: the book's name for the sum, of which it takes no mean."""
    return 0.5 * ((y - t) ** 2).sum()


def cross_entropy_error(y: Array, t: Array) -> Array:
    """-1/N sum log y[n, t[n]], for probabilities y (N,D) or (D,) and labels t (N,) or one-hot like y.

    The book adds 1e-7 to y, so that its loss is wrong by as much; here only y = 0 is lifted, to the smallest normal
    number.
    """
    y = y.reshape(-1, y.shape[-1])
    picked = (y * one_hot(t, y)).sum(axis=1)
    return -xp.log(xp.maximum(picked, xp.finfo(y.dtype).tiny)).mean()


def softmax_loss(X: Array, t: Array) -> Array:
    """cross_entropy_error(softmax(X), t), by way of the logarithm of softmax, which is exact for any X."""
    X = X.reshape(-1, X.shape[-1])
    loss, _ = ops.softmax_cross_entropy(X, one_hot(t, X))
    return loss


def one_hot(t: Array, y: Array) -> Array:
    """Return labels (N,) or (N,1), or rows of probabilities already, in the shape and dtype of y (N,D)."""
    if t.size == y.size:
        return t.reshape(y.shape).astype(y.dtype)
    return (t.reshape(-1, 1) == xp.arange(y.shape[1])).astype(y.dtype)
