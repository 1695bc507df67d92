"""How much a thread does at a time: as much as fits a sixteenth of XPCNN_WORKSPACE."""

from collections.abc import Iterable
from math import prod

from xpcnn.geometry import Pair
from xpcnn.kernels.cpu import shares
from xpcnn.kernels.cpu.layout import Array
from xpcnn.kernels.cpu.workspace import workspace_bytes

THREADS = 16
"""Threads that share XPCNN_WORKSPACE, whether there are as many or not."""


def fitting(rows: int, columns: int, size: int) -> Pair:
    """Return how many rows and columns of `size` bytes a thread may hold: whole rows if it can, at least one number."""
    most, size = budget(), max(size, 1)
    Q = -(-columns // min(-(-columns * size // most), columns))
    return max(1, min(rows, most // (size * Q))), Q


def pieces(whole: slice, length: int) -> list[slice]:
    """Cut a slice into slices of some length."""
    return [slice(i, min(i + length, whole.stop)) for i in range(whole.start, whole.stop, length)]


def budget() -> int:
    """Return the bytes that one thread may hold at a time: the same for any number of threads, as are the blocks."""
    return max(workspace_bytes() // THREADS, 1)


def sum_of_products(a: Array, b: Array) -> Array:
    """Return the sum of A @ B over the axis of rows, the third from behind, as many products at a time as fit."""
    *groups, R, M, _ = a.shape
    together = max(1, budget() // (prod(groups) * M * b.shape[-1] * a.itemsize))
    return pairwise(
        (a[..., rows, :, :] @ b[..., rows, :, :]).sum(axis=-3) for rows in pieces(slice(0, R), together)
    )


def pairwise(terms: Iterable[Array]) -> Array:
    """Add arrays in pairs, then the sums in pairs, and so on; the arrays are overwritten.

    Rounding grows with the logarithm of their number, not with their number, and no more sums than that are kept.
    """
    sums: list[Array] = []
    for number, term in enumerate(terms, start=1):
        while number % 2 == 0:
            term += sums.pop()
            number //= 2
        sums.append(term)
    return shares.added(reversed(sums))
