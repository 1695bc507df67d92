"""ReLU and the optimizers' updates in NumPy: loops over a piece of flat arrays, see `xpcnn.kernels.cpu.elementwise`."""

from collections.abc import Callable

import numpy as np

from xpcnn.kernels.cpu import elementwise, threads
from xpcnn.kernels.cpu.layout import Array

PIECE = 1 << 18
"""Elements at a time: few enough that temporaries stay small, and so many that threads, which need the interpreter
lock between two operations, seldom wait for each other. On two threads pieces of 1 << 15 were slower."""


def run(name: str, arrays: list[Array], numbers: tuple[float, ...] = ()) -> None:
    """Call a loop below on every piece of flat arrays, each thread on a range of elements."""
    loop, length = LOOPS[name], len(arrays[0])

    def pieces(start: int, stop: int) -> None:
        for first in range(start, stop, PIECE):
            loop(*(array[first : min(first + PIECE, stop)] for array in arrays), *numbers)

    threads.in_parallel(pieces, length, len(arrays) * length)


def _relu(x: Array, y: Array) -> None:
    np.maximum(x, 0, out=y)


def _relu_backward(dy: Array, y: Array, dx: Array) -> None:
    np.multiply(dy, y > 0, out=dx)


def _momentum_update(theta: Array, g: Array, velocity: Array, lr: float, momentum: float) -> None:
    velocity *= momentum
    velocity -= lr * g
    theta += velocity


def _adam_update(
    theta: Array, g: Array, mean: Array, squares: Array,
    step: float, beta1: float, rest1: float, beta2: float, rest2: float, eps: float,
) -> None:  # fmt: skip
    mean *= beta1
    mean += rest1 * g
    squares *= beta2
    squares += rest2 * g * g
    theta -= step * mean / (np.sqrt(squares) + eps)


LOOPS: dict[str, Callable[..., None]] = {
    "relu": _relu,
    "relu_backward": _relu_backward,
    "momentum_update": _momentum_update,
    "adam_update": _adam_update,
}
elementwise.register("plain", run)
