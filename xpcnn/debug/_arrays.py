"""What the checks of a layer compute with: random inputs and gradients, memory orders, and comparisons on the host."""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpcnn.backend import to_device, to_host, xp
from xpcnn.layers import Layer

N = 3
"""Samples of a batch."""


def inputs(shape: Any, dtype: str = "float32", seed: int = 0) -> Any:
    """Return N samples on the active device: values far from each other and from zero, in a random order."""
    if shape and isinstance(shape[0], tuple):
        return tuple(inputs(part, dtype, seed + index) for index, part in enumerate(shape))
    size = N * int(np.prod(shape))
    values = (_rng(seed, 0).permutation(size) - size // 2 + 0.5) * (4 / max(size, 32))
    return to_device(values.reshape(N, *shape).astype(dtype))  # (N*...,) -> (N, ...)


def gradient_of(y: Any, seed: int = 0) -> Any:
    """Return a random dL/dy on the active device."""
    if isinstance(y, (list, tuple)):
        return [gradient_of(part, seed + index) for index, part in enumerate(y)]
    return to_device(_rng(seed, 1).standard_normal(y.shape).astype(y.dtype))


def _rng(*seed: int) -> np.random.Generator:
    """Return a generator whose numbers a layer does not have: ``default_rng(0)`` may have drawn its weights."""
    return np.random.default_rng([*seed, 1998])


def parts(value: Any) -> list[Any]:
    """Return an array, or several, as a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def host(value: Any) -> list[np.ndarray]:
    """Return copies on the host of an array, or of several."""
    return [to_host(part).copy() for part in parts(value)]


def gradients(layer: Layer) -> dict[str, np.ndarray]:
    """Return copies on the host of the gradients of all parameters, by name."""
    return {name: to_host(parameter.grad).copy() for name, parameter in layer.named_parameters()}


def equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    """Tell whether two lists of arrays are equal, bit for bit."""
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def close(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    """Tell whether two lists are equal to rounding, relative to the largest element of each array.

    Where an array has small elements only, rounding is relative to a hundredth of the largest element of all.
    """
    least = 1e-2 * max((float(np.abs(b).max(initial=0)) for b in other), default=0.0) or 1e-30
    return len(one) == len(other) and all(
        a.shape == b.shape and np.abs(a - b).max(initial=0) <= 1e-4 * max(np.abs(b).max(initial=0), least)
        for a, b in zip(one, other, strict=True)
    )


def in_order(order: Callable[[Any], Any], value: Any) -> Any:
    """Return an array, or each of several, in another order in memory."""
    if isinstance(value, (list, tuple)):
        return type(value)(order(part) for part in value)
    return order(value)


def reversed_axes(array: Any) -> Any:
    """Return an equal array whose axes are stored in reverse order."""
    return xp.ascontiguousarray(array.T).T


def strided(array: Any) -> Any:
    """Return an equal array that is every second element of a larger one."""
    larger = xp.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    larger[..., ::2] = array
    return larger[..., ::2]
