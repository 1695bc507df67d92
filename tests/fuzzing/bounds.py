"""How far rounding may take each result: the textbook's formulas once more, of magnitudes.

A sum of terms is off by a few times the dtype's epsilon times the sum of the terms' magnitudes, however many there are
and in whatever order they are added (pairwise, in tiles, in shares): roundings go both ways. Where one number is added
again and again they may all go one way, and n terms that are added in turn, as BLAS adds them, are off by up to n / 2
epsilons (Higham, "Accuracy and Stability of Numerical Algorithms", 4.2). The sum of magnitudes is worked out for
every element alone, so that an element that has lost a term stands out; a bound relative to the largest element would
let it pass.
"""

from collections.abc import Callable
from math import prod
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


def sample_normalized(x: Any, weight: Any, bias: Any, *numbers: Any) -> Any:
    rows, scale, weight, bias = _of_samples(x, weight, numbers, bias)
    spread = abs(rows) + abs(rows).mean(axis=1, keepdims=True)
    return (spread * scale).reshape(x.shape) * 4 * abs(weight) + abs(bias)


def sample_normalized_backward(dy: Any, x: Any, weight: Any, *numbers: Any) -> Any:
    """The rounding of y, times every factor that backward multiplies it by."""
    rows, scale, spread_weight, _ = _of_samples(x, weight, numbers, weight)
    xhat = (abs(rows) + abs(rows).mean(axis=1, keepdims=True)) * scale
    g = (abs(dy) * abs(spread_weight)).reshape(rows.shape)
    mean_g, along = g.mean(axis=1, keepdims=True), (g * xhat).mean(axis=1, keepdims=True)
    dx = 4 * scale * (1 + xhat.max(axis=1, keepdims=True)) * (g + mean_g + xhat * along)
    axes = _axes(x) if len(numbers) == 2 else tuple(range(x.ndim - weight.ndim))
    dweight, dbias = (4 * abs(dy) * xhat.reshape(x.shape)).sum(axis=axes), abs(dy).sum(axis=axes)
    return dx.reshape(x.shape), dweight, dbias


def _of_samples(x: Any, weight: Any, numbers: Any, bias: Any) -> Any:
    """Return the rows that are normalised, 1 / sqrt(variance + eps) of each, and weight and bias beside x."""
    *groups, eps = numbers
    rows = x.reshape(len(x) * groups[0], -1) if groups else x.reshape(-1, weight.size)  # (R, L)
    scale = 1 / np.sqrt(rows.var(axis=1, keepdims=True) + eps)
    return rows, scale, *((_spread(a, x) for a in (weight, bias)) if groups else (weight, bias))


def activated(x: Any, *numbers: Any) -> Any:
    return abs(x) + 1


def activated_backward(dy: Any, other: Any, *numbers: Any) -> Any:
    return abs(dy) * (1 + abs(other)) ** 2


def exactly(*arguments: Any) -> Any:
    return 0


def _axes(x: Any) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _spread(values: Any, x: Any) -> Any:
    return values.reshape(1, -1, *(1,) * (x.ndim - 2))


SUMS = ("affine", "affine_backward", "conv", "conv_backward", "col2im")
"""Ops that only multiply and add: small integers come out exactly."""


def terms(op: str, arguments: list[Any]) -> Any:
    """Return how many terms the sums of an op have, for each of its results: the op itself, of ones."""
    if op == "average_pool":
        return prod(arguments[1].size)
    return textbook(op)(*(np.ones_like(a) if _real(a) else a for a in arguments)) if op in SUMS else 0


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
    **dict.fromkeys(("leaky_relu", "leaky_relu_backward"), lambda value, *others: abs(value)),
    **dict.fromkeys(("clip", "clip_backward"), exactly),
    **dict.fromkeys(("gelu", "sigmoid", "silu", "tanh"), activated),
    **dict.fromkeys(
        ("gelu_backward", "sigmoid_backward", "silu_backward", "tanh_backward"), activated_backward
    ),
    **dict.fromkeys(("group_norm", "layer_norm"), sample_normalized),
    **dict.fromkeys(("group_norm_backward", "layer_norm_backward"), sample_normalized_backward),
}
"""For each op the sums of magnitudes: one for each result, or for each array that an update writes to; 0 is exactly."""
