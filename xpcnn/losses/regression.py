"""Losses of numbers: squared, absolute, and Huber's, which is squared near zero and absolute beyond."""

from __future__ import annotations

from xpcnn.backend import Array, xp
from xpcnn.errors.checks import number
from xpcnn.losses.base import MEAN
from xpcnn.losses.elementwise import Elementwise


class MeanSquaredError(Elementwise):
    """Half the squared distance, averaged over the batch: L = 1/(2 N) sum (y - t)^2, dL/dy = (y - t) / N.

    The sum runs over all elements of a sample, as in the book's chapter 4. So it divides by the number of samples N,
    where `L1` and `Huber` divide by the number of elements; PyTorch's ``mse_loss`` is 2 N / y.size times this one. With
    reduction "sum" L = 1/2 sum (y - t)^2. Shapes and errors are those of `Elementwise`.
    """

    def values_and_slopes(self, y: Array, target: Array) -> tuple[Array, Array]:
        difference = y - target
        return difference * difference / 2, difference

    def divisor(self, array: Array) -> int:
        return len(array)


class L1(Elementwise):
    """The mean absolute distance: L = 1/M sum |y - t| over all M elements, dL/dy = sign(y - t) / M.

    The gradient is zero where y = t. With reduction "sum" M is 1. Shapes and errors are those of `Elementwise`.
    """

    def values_and_slopes(self, y: Array, target: Array) -> tuple[Array, Array]:
        difference = y - target
        return xp.abs(difference), xp.sign(difference)


class Huber(Elementwise):
    """The mean over all M elements of d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = y - t.

        L = 1/M sum q (|d| - q / 2)  with  q = min(|d|, delta)        dL/dy = clip(d, -delta, delta) / M

    With reduction "sum" M is 1. Shapes and errors are those of `Elementwise`.

    Parameters
    ----------
    delta : float
        Above 0: the distance from which on the loss is linear.
    reduction : "mean" or "sum"

    References
    ----------
    Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35, 1964.
    """

    def __init__(self, delta: float = 1.0, reduction: str = MEAN) -> None:
        super().__init__(reduction)
        self.delta = number(delta, "delta", "Huber", above=0, fix="the default is 1.0")

    def values_and_slopes(self, y: Array, target: Array) -> tuple[Array, Array]:
        difference = y - target
        size = xp.abs(difference)
        near = xp.minimum(size, self.delta)
        return near * (size - near / 2), xp.clip(difference, -self.delta, self.delta)
