"""ReLU and the optimizers' updates: one pass over memory, on all threads."""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpcnn.kernels.adam import corrected
from xpcnn.kernels.cpu import threads
from xpcnn.kernels.cpu.compiled.compiler import compilable, compiled
from xpcnn.kernels.cpu.layout import in_memory_order
from xpcnn.kernels.cpu.plain.elementwise import adam_update as pure_adam_update
from xpcnn.kernels.cpu.plain.elementwise import momentum_update as pure_momentum_update
from xpcnn.kernels.cpu.plain.elementwise import relu as pure_relu
from xpcnn.kernels.cpu.plain.elementwise import relu_backward as pure_relu_backward

PIECE = 1024
"""Elements, a multiple of what any loop here takes at a time."""


def relu(x: Any) -> Any:
    """Substitute for `xpcnn.ops.relu`."""
    y = np.empty_like(x)
    if not compilable(x) or (flat := in_memory_order(x, y)) is None:
        return pure_relu(x)
    _share(_relu, *flat)
    return y


@compiled
def _relu(x: Any, y: Any) -> None:
    zero = x.dtype.type(0)
    for i in range(len(x)):
        y[i] = zero if x[i] <= zero else x[i]  # a NaN is not <= 0, and stays


def relu_backward(dy: Any, y: Any) -> Any:
    """Substitute for `xpcnn.ops.relu_backward`."""
    dx = np.empty_like(y)
    if not compilable(dy, y) or (flat := in_memory_order(dy, y, dx)) is None:
        return pure_relu_backward(dy, y)
    _share(_relu_backward, *flat)
    return dx


@compiled
def _relu_backward(dy: Any, y: Any, dx: Any) -> None:
    zero, one = y.dtype.type(0), y.dtype.type(1)
    for i in range(len(y)):
        dx[i] = dy[i] * (one if y[i] > zero else zero)  # 0 inf is NaN, as in the textbook


def momentum_update(theta: Any, g: Any, velocity: Any, lr: float, momentum: float) -> None:
    """Substitute for `xpcnn.ops.momentum_update`."""
    if not _flat(theta, g, velocity):
        return pure_momentum_update(theta, g, velocity, lr, momentum)
    real = theta.dtype.type
    _share(_momentum_update, theta, g, velocity, numbers=(real(lr), real(momentum)))
    return None


@compiled
def _momentum_update(theta: Any, g: Any, velocity: Any, lr: float, momentum: float) -> None:
    for i in range(len(theta)):
        v = momentum * velocity[i] - lr * g[i]
        velocity[i] = v
        theta[i] += v


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
    if not _flat(theta, g, mean, squares):
        return pure_adam_update(theta, g, mean, squares, lr, betas, eps, t)
    (beta1, beta2), (step, eps) = betas, corrected(lr, betas, eps, t)
    numbers = tuple(map(theta.dtype.type, (step, beta1, 1 - beta1, beta2, 1 - beta2, eps)))
    _share(_adam_update, theta, g, mean, squares, numbers=numbers)
    return None


@compiled
def _adam_update(
    theta: Any, g: Any, mean: Any, squares: Any,
    step: float, beta1: float, rest1: float, beta2: float, rest2: float, eps: float,
) -> None:  # fmt: skip
    for i in range(len(theta)):
        m = beta1 * mean[i] + rest1 * g[i]
        v = beta2 * squares[i] + rest2 * g[i] * g[i]
        mean[i], squares[i] = m, v
        theta[i] -= step * m / (np.sqrt(v) + eps)


def _flat(*arrays: Any) -> bool:
    return compilable(*arrays) and all(a.shape == (arrays[0].size,) for a in arrays)


def _share(function: Callable[..., Any], *arrays: Any, numbers: tuple[Any, ...] = ()) -> None:
    """Call a compiled function on all of the arrays, which are flat, each thread on some of their pieces.

    Whole pieces only: beside whole vectors the compiler may round elsewhere than inside them.
    """
    length = len(arrays[0])

    def some(start: int, stop: int) -> None:
        function(*(array[start * PIECE : min(stop * PIECE, length)] for array in arrays), *numbers)

    threads.in_parallel(some, -(-length // PIECE), len(arrays) * length)
