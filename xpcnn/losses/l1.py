"""The absolute distance: a loss on which outliers weigh no more than others."""

from __future__ import annotations

from xpcnn.backend import Array, xp
from xpcnn.losses.elementwise import Elementwise


class L1(Elementwise):
    """The mean absolute distance: L = 1/M sum |y - t| over all M elements, dL/dy = sign(y - t) / M.

    The gradient is zero where y = t. With reduction "sum" M is 1. Shapes and errors are those of `Elementwise`.
    """

    def values_and_slopes(self, y: Array, target: Array) -> tuple[Array, Array]:
        difference = y - target
        return xp.abs(difference), xp.sign(difference)
