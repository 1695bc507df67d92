"""ReLU and the optimizers' updates, a piece at a time, on all threads."""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpcnn.kernels.adam import corrected
from xpcnn.kernels.cpu import threads
from xpcnn.kernels.cpu.layout import Array, in_memory_order

PIECE = 1 << 18
"""Elements at a time: few enough that temporaries stay small, and so many that threads, which need the interpreter
lock between two operations, seldom wait for each other. On two threads pieces of 1 << 15 were slower."""


def relu(x: Any) -> Any:
    """Substitute for `xpcnn.ops.relu`."""
    y = np.empty_like(x)
    if (flat := in_memory_order(x, y)) is None:
        return np.maximum(x, 0, out=y)
    _in_pieces(lambda x, y: np.maximum(x, 0, out=y), *flat)
    return y


def relu_backward(dy: Any, y: Any) -> Any:
    """Substitute for `xpcnn.ops.relu_backward`."""
    dx = np.empty_like(y)
    if (flat := in_memory_order(dy, y, dx)) is None:
        return dy * (y > 0)
    _in_pieces(lambda dy, y, dx: np.multiply(dy, y > 0, out=dx), *flat)
    return dx


def momentum_update(theta: Any, g: Any, velocity: Any, lr: float, momentum: float) -> None:
    """Substitute for `xpcnn.ops.momentum_update`."""

    def update(theta: Array, g: Array, velocity: Array) -> None:
        velocity *= momentum
        velocity -= lr * g
        theta += velocity

    _in_pieces(update, theta, g, velocity)


def adam_update(
    theta: Any,
    g: Any,
    mean: Any,
    squares: Any,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    t: int,
) -> None:
    """Substitute for `xpcnn.ops.adam_update`."""
    (beta1, beta2), (step, eps) = betas, corrected(lr, betas, eps, t)

    def update(theta: Array, g: Array, mean: Array, squares: Array) -> None:
        mean *= beta1
        mean += (1 - beta1) * g
        squares *= beta2
        squares += (1 - beta2) * g * g
        theta -= step * mean / (np.sqrt(squares) + eps)

    _in_pieces(update, theta, g, mean, squares)


def _in_pieces(function: Callable[..., Any], *arrays: Array) -> None:
    """Call a function on corresponding pieces of flat arrays."""

    def some(start: int, stop: int) -> None:
        for first in range(start, stop, PIECE):
            function(*(array[first : min(first + PIECE, stop)] for array in arrays))

    threads.in_parallel(some, len(arrays[0]), len(arrays) * len(arrays[0]))
