"""ReLU and the updates of Momentum and Adam: the part that the plain and the compiled substitutes share.

    x   |. . . . . . . .|. . . . . . . .|. . . . . . . .|. . .|      flat, in the order of memory
    y   |. . . . . . . .|. . . . . . . .|. . . . . . . .|. . .|
         one piece       the next one

A thread takes a range of pieces, and in each all arrays at once. A kind of substitutes brings a loop over flat arrays
for each op, and `run(name, arrays, numbers)`, which calls it on every piece.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpcnn.kernels.adam import corrected
from xpcnn.kernels.cpu.layout import in_memory_order
from xpcnn.kernels.registry import substitute


def register(kind: str, run: Callable[..., None]) -> None:
    """Register the elementwise substitutes of a kind."""

    def registered(function: Callable[..., Any]) -> None:
        function.__module__ = run.__module__
        substitute(kind)(function)

    @registered
    def relu(x: Any) -> Any:
        """Substitute for `xpcnn.ops.relu`."""
        y = np.empty_like(x)
        if (flat := in_memory_order(x, y)) is None:
            return np.maximum(x, 0, out=y)
        run("relu", flat)
        return y

    @registered
    def relu_backward(dy: Any, y: Any) -> Any:
        """Substitute for `xpcnn.ops.relu_backward`."""
        dx = np.empty_like(y)
        if (flat := in_memory_order(dy, y, dx)) is None:
            return dy * (y > 0)
        run("relu_backward", flat)
        return dx

    @registered
    def momentum_update(theta: Any, g: Any, velocity: Any, lr: float, momentum: float) -> None:
        """Substitute for `xpcnn.ops.momentum_update`."""
        run("momentum_update", [theta, g, velocity], (lr, momentum))

    @registered
    def adam_update(
        theta: Any, g: Any, mean: Any, squares: Any, lr: float, betas: tuple[float, float], eps: float, t: int
    ) -> None:
        """Substitute for `xpcnn.ops.adam_update`."""
        (beta1, beta2), (step, eps) = betas, corrected(lr, betas, eps, t)
        run("adam_update", [theta, g, mean, squares], (step, beta1, 1 - beta1, beta2, 1 - beta2, eps))
