"""Half the squared distance, averaged over the batch: the loss of the book's chapter 4."""

from __future__ import annotations

from xpcnn.backend import Array
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
