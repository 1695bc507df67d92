"""Initial weights. They are drawn on the host, so a seed gives the same network on every backend.

A weight's shape is (out, in, *kernel), as in Affine and Conv: an output is a sum over ``fan_in = in * prod(kernel)``
inputs, and an input is used by ``fan_out = out * prod(kernel)`` outputs. Weights are random, since equal filters would
have equal gradients and stay equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from xpcnn.errors import ShapeError
from xpcnn.errors.checks import lengths, number
from xpcnn.random import Seed, default_rng

__all__ = [
    "Initializer",
    "fans",
    "he_normal",
    "he_uniform",
    "lecun_uniform",
    "normal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

Initializer: TypeAlias = Callable[[tuple[int, ...], Seed], np.ndarray]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a weight of shape (out, in, *kernel).

    >>> fans((64, 3, 5, 5))
    (75, 1600)
    """
    if len(lengths(shape, "fans", least=1)) < 2:
        raise ShapeError(
            f"fans: expected the shape of a weight, (out, in, *kernel), got {shape}; pass (64, 3, 5, 5), say"
        )
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def normal(shape: tuple[int, ...], rng: Seed = None, *, std: float = 0.01) -> np.ndarray:
    """Draw from N(0, std^2). The book's networks of chapters 5 and 7 begin with std=0.01."""
    scale = np.float32(number(std, "std", "normal", 0))
    return default_rng(rng).standard_normal(lengths(shape, "initializer"), dtype=np.float32) * scale


def uniform(shape: tuple[int, ...], rng: Seed = None, *, bound: float = 0.01) -> np.ndarray:
    """Draw from U(-bound, bound)."""
    scale = np.float32(number(bound, "bound", "uniform", 0))
    return (default_rng(rng).random(lengths(shape, "initializer"), dtype=np.float32) * 2 - 1) * scale


def he_normal(shape: tuple[int, ...], rng: Seed = None) -> np.ndarray:
    """Draw from N(0, 2 / fan_in): keeps the variance through ReLU layers.

    He et al., "Delving Deep into Rectifiers", ICCV 2015, equation 10.
    """
    return normal(shape, rng, std=math.sqrt(2 / fans(shape)[0]))


def he_uniform(shape: tuple[int, ...], rng: Seed = None) -> np.ndarray:
    """Draw from U(-b, b) with b = sqrt(6 / fan_in): the variance of `he_normal`, without tails."""
    return uniform(shape, rng, bound=math.sqrt(6 / fans(shape)[0]))


def xavier_normal(shape: tuple[int, ...], rng: Seed = None) -> np.ndarray:
    """Draw from N(0, 2 / (fan_in + fan_out)), for tanh and sigmoid.

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010, equation 12.
    """
    return normal(shape, rng, std=math.sqrt(2 / sum(fans(shape))))


def xavier_uniform(shape: tuple[int, ...], rng: Seed = None) -> np.ndarray:
    """Draw from U(-b, b) with b = sqrt(6 / (fan_in + fan_out)): Glorot and Bengio, equation 16."""
    return uniform(shape, rng, bound=math.sqrt(6 / sum(fans(shape))))


def lecun_uniform(shape: tuple[int, ...], rng: Seed = None) -> np.ndarray:
    """Draw from U(-b, b) with b = sqrt(3 / fan_in): unit variance into a tanh.

    LeCun, Bottou, Orr and Mueller, "Efficient BackProp", 1998, section 4.6.
    """
    return uniform(shape, rng, bound=math.sqrt(3 / fans(shape)[0]))


def zeros(shape: tuple[int, ...], rng: Seed = None) -> np.ndarray:
    """Return zeros, which need no time and no memory until written to: for counting parameters, or loading them."""
    return np.zeros(lengths(shape, "initializer"), np.float32)


def __dir__() -> list[str]:
    return __all__
