"""ReLU and the optimizers' updates by Numba: one pass over memory, see `xpcnn.kernels.cpu.elementwise`."""

from typing import Any

import numpy as np

from xpcnn.kernels.cpu import elementwise, threads
from xpcnn.kernels.cpu.compiled.compiler import compilable, compiled
from xpcnn.kernels.cpu.layout import Array
from xpcnn.kernels.cpu.plain.elementwise import run as run_plain

PIECE = 1024
"""Elements, a multiple of what any loop here takes at a time."""


def run(name: str, arrays: list[Array], numbers: tuple[float, ...] = ()) -> None:
    """Call a loop below on flat arrays, each thread on a range of whole pieces.

    Whole pieces only: in what is left over beside whole vectors the compiler may round elsewhere than inside them.
    """
    length, same = arrays[0].size, all(array.shape == (arrays[0].size,) for array in arrays)
    if not compilable(*arrays) or not same:
        return run_plain(name, arrays, numbers)
    loop, of_dtype = LOOPS[name], tuple(map(arrays[0].dtype.type, numbers))

    def pieces(start: int, stop: int) -> None:
        loop(*(array[start * PIECE : min(stop * PIECE, length)] for array in arrays), *of_dtype)

    threads.in_parallel(pieces, -(-length // PIECE), len(arrays) * length)
    return None


@compiled
def _relu(x: Any, y: Any) -> None:
    zero = x.dtype.type(0)
    for i in range(len(x)):
        y[i] = zero if x[i] <= zero else x[i]  # a NaN is not <= 0, and stays


@compiled
def _relu_backward(dy: Any, y: Any, dx: Any) -> None:
    zero, one = y.dtype.type(0), y.dtype.type(1)
    for i in range(len(y)):
        dx[i] = dy[i] * (one if y[i] > zero else zero)  # 0 inf is NaN, as in the textbook


@compiled
def _momentum_update(theta: Any, g: Any, velocity: Any, lr: float, momentum: float) -> None:
    for i in range(len(theta)):
        v = momentum * velocity[i] - lr * g[i]
        velocity[i] = v
        theta[i] += v


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


LOOPS = {
    "relu": _relu,
    "relu_backward": _relu_backward,
    "momentum_update": _momentum_update,
    "adam_update": _adam_update,
}
elementwise.register("compiled", run)
