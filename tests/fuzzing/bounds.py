"""How far rounding may take each result: the textbook's formulas once more, of magnitudes.

A sum of terms is off by a few times the dtype's epsilon times the sum of the terms' magnitudes, however many there are
and in whatever order they are added (pairwise, in tiles, in shares). That sum is worked out for every element alone, so
that an element that has lost a term stands out; a bound relative to the largest element would let it pass.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpcnn import ops


def textbook(name: str) -> Callable[..., Any]:
    """Return an op as the textbook has it."""
    return getattr(ops, name).__wrapped__


def of_magnitudes(name: str) -> Callable[..., Any]:
    """Return the bound of an op that only multiplies and adds: the op itself, of magnitudes."""

    def bound(*arguments: Any) -> Any:
        return textbook(name)(*(abs(a) if _real(a) else a for a in arguments))

    return bound


def _real(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def statistics(x: Any) -> Any:
    mean, axes = abs(x).mean(axis=_axes(x)), _axes(x)
    return mean, ((abs(x) + _spread(mean, x)) ** 2).mean(axis=axes)


def normalized(x: Any, weight: Any, bias: Any, mean: Any, variance: Any, eps: float) -> Any:
    scale = abs(weight) / np.sqrt(variance + eps)
    return (abs(x) + abs(_spread(mean, x))) * _spread(scale, x) + abs(_spread(bias, x))


def normalized_backward(
    dy: Any, x: Any, weight: Any, mean: Any, variance: Any, eps: float, of_batch: bool
) -> Any:
    inverse, axes, M = 1 / np.sqrt(variance + eps), _axes(x), max(x.size // x.shape[1], 1)
    ones = (abs(x) + abs(_spread(mean, x))) * _spread(inverse, x)
    dweight, dbias = (abs(dy) * ones).sum(axis=axes), abs(dy).sum(axis=axes)
    dx = abs(dy)
    if of_batch:
        dx = dx + _spread(dbias / M, x) + ones * _spread(dweight / M, x)
    return dx * _spread(abs(weight) * inverse, x), dweight, dbias


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Log p is the difference of a logit and a logarithm: it is off by epsilon times these, and p by p times that."""
    largest = abs(logits).max(axis=1, keepdims=True)
    _, p = textbook("softmax_cross_entropy")(logits, labels)
    off = 1 + largest - np.log(np.maximum(p, 1e-300))
    if labels.ndim == 1:
        losses = np.take_along_axis(off, labels[:, None].astype(int), axis=1)
    else:
        losses = (abs(labels) * off).sum(axis=1)
    return losses.mean(), p * off


def cross_entropy_backward(probabilities: Any, labels: Any) -> Any:
    targets = labels if labels.ndim == 2 else np.eye(probabilities.shape[1])[labels.astype(int)]
    return (probabilities * (1 + targets.sum(axis=1, keepdims=True)) + targets) / len(probabilities)


def sgd(theta: Any, g: Any, lr: float) -> Any:
    return abs(theta) + lr * abs(g), 0


def momentum(theta: Any, g: Any, velocity: Any, lr: float, factor: float) -> Any:
    moved = factor * abs(velocity) + lr * abs(g)
    return abs(theta) + moved, 0, moved


def adam(theta: Any, g: Any, mean: Any, squares: Any, lr: float, betas: Any, eps: float, t: int) -> Any:
    (beta1, beta2), tiny = betas, np.finfo(np.float64).tiny
    m, v = beta1 * abs(mean) + (1 - beta1) * abs(g), beta2 * squares + (1 - beta2) * g * g
    step = lr / (1 - beta1**t) * m / (np.sqrt(v / (1 - beta2**t)) + eps + tiny)
    return abs(theta) + step, 0, m, v


def exactly(*arguments: Any) -> Any:
    return 0


def _axes(x: Any) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _spread(values: Any, x: Any) -> Any:
    return values.reshape(1, -1, *(1,) * (x.ndim - 2))


SUMS = ("affine", "affine_backward", "conv", "conv_backward", "col2im")
"""Ops that only multiply and add: small integers come out exactly."""

BOUNDS: dict[str, Callable[..., Any]] = {
    **{name: of_magnitudes(name) for name in (*SUMS, "average_pool", "average_pool_backward")},
    **dict.fromkeys(("flatten", "im2col", "keep_mask", "max_pool", "relu", "relu_backward"), exactly),
    "max_pool_backward": of_magnitudes("max_pool_backward"),
    "batch_statistics": statistics,
    "batch_norm": normalized,
    "batch_norm_backward": normalized_backward,
    "softmax_cross_entropy": cross_entropy,
    "softmax_cross_entropy_backward": cross_entropy_backward,
    "sgd_update": sgd,
    "momentum_update": momentum,
    "adam_update": adam,
}
"""For each op the sums of magnitudes: one for each result, or for each array that an update writes to; 0 is exactly."""
