"""How much a thread does at a time: as much as fits a sixteenth of XPCNN_WORKSPACE."""

from math import prod
from typing import Any

from xpcnn.geometry import Pair
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


def sum_of_products(a: Array, b: Array) -> Any:
    """Return the sum of A @ B over the axis of rows, the third from behind, as many products at a time as fit."""
    *groups, R, M, _ = a.shape
    together = max(1, budget() // (prod(groups) * M * b.shape[-1] * a.itemsize))
    total: Any = 0
    for r in range(0, R, together):
        some_rows = slice(r, r + together)
        total = total + (a[..., some_rows, :, :] @ b[..., some_rows, :, :]).sum(axis=-3)
    return total
