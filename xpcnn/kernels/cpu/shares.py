"""Work that is cut in the same way whatever the number of threads, so that its results are the same to the bit.

The sum of many products depends on their order, and what BLAS computes may depend on the shape of a matrix. Where
neither matters (a row of results, an element) each thread takes a range of any length. All other work is cut into
shares whose number depends on shapes alone, and the sums of the shares are added in their order.

    rows of dy   |    share 0    |    share 1    |    share 2    |    share 3    |
    dW           =     sum 0     +     sum 1     +     sum 2     +     sum 3           on any number of threads
"""

from collections.abc import Iterable

from xpcnn.kernels.cpu import threads
from xpcnn.kernels.cpu.layout import Array

MOST = 12
"""Shares at most: the same for each of 1, 2, 3, 4, 6 and 12 threads."""

POSITIONS = 4096
"""Positions of a window in a share of a weight gradient: with fewer, adding the shares takes more than 2% of it."""

BYTES = 16 << 20
"""The memory of all shares of a weight gradient together, at most, if there are more than two of them."""


def cut(length: int, number: int, products: int) -> list[slice]:
    """Cut range(length) into `number` equal slices, but 2 at least and MOST at most; little work into one.

    An odd number is made even: of three shares one of two threads would compute two, while the other waits.
    `products` are the multiply-adds of the whole, as for `threads.worthwhile`.
    """
    number = min(max(number + number % 2, 2), MOST, length) if threads.worthwhile(products=products) else 1
    return equal(length, max(number, 1))


def equal(length: int, number: int) -> list[slice]:
    """Cut range(length) into equal slices."""
    return [slice(length * i // number, length * (i + 1) // number) for i in range(number)]


def of_gradient(dy: Array, filter_bytes: int, products: int, grain: int = 1) -> list[slice]:
    """Cut the rows of dy, (OH,O,OW,N), for the sums of a weight gradient; a share is worth `grain` multiply-adds."""
    OH, _, OW, N = dy.shape
    return cut(OH, min(OH * OW * N // POSITIONS, BYTES // max(filter_bytes, 1), products // grain), products)


def added(sums: Iterable[Array]) -> Array:
    """Return the first array after every other one was added to it, in their order."""
    total, *others = sums
    for other in others:
        total += other
    return total
