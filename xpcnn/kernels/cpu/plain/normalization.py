"""Batch normalisation a row of the image at a time: what a channel needs is a few products with that row, in the cache.

Sums are kept a row apart and added in the end, so they are the same however many threads there are. NumPy adds a
row's elements pairwise; a product with ones, or a dot product, may add them in turn, and then a million equal numbers
lose two digits.
"""

from typing import Any

import numpy as np

from xpcnn.kernels.cpu import threads
from xpcnn.kernels.cpu.layout import Array, in_shape, rows_of
from xpcnn.kernels.precision import computing


def batch_statistics(x: Any) -> tuple[Any, Any]:
    """Substitute for `xpcnn.ops.batch_statistics`."""
    x = x.astype(computing(x.dtype), copy=False)
    rows = rows_of(x)  # (H,C,W,N)
    M, sums = x.size // x.shape[1], np.empty(rows.shape[:2], x.dtype)

    def add(start: int, stop: int) -> None:
        for h in range(start, stop):
            sums[h] = _sums(rows[h])

    threads.in_parallel(add, len(rows), x.size)
    mean = _total(sums) / M

    def add_squares(start: int, stop: int) -> None:
        for h in range(start, stop):
            centered = rows[h] - _column(mean)
            centered *= centered
            sums[h] = _sums(centered)

    threads.in_parallel(add_squares, len(rows), x.size)
    return mean, _total(sums) / M


def batch_norm(x: Any, weight: Any, bias: Any, mean: Any, variance: Any, eps: float) -> Any:
    """Substitute for `xpcnn.ops.batch_norm`."""
    rows, scale = rows_of(x), weight / np.sqrt(variance + eps)
    y = np.empty_like(rows)

    def some(start: int, stop: int) -> None:
        for h in range(start, stop):
            np.subtract(rows[h], _column(mean), out=y[h])
            y[h] *= _column(scale)
            y[h] += _column(bias)

    threads.in_parallel(some, len(rows), x.size)
    return in_shape(y, x.shape)


def batch_norm_backward(
    dy: Any, x: Any, weight: Any, mean: Any, variance: Any, eps: float, of_batch: bool
) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.batch_norm_backward`."""
    drows, rows, inverse = rows_of(dy), rows_of(x), 1 / np.sqrt(variance + eps)
    M, (sums, products) = x.size // x.shape[1], np.empty((2, *rows.shape[:2]), x.dtype)

    def add(start: int, stop: int) -> None:
        for h in range(start, stop):
            sums[h] = _sums(drows[h])
            centered = rows[h] - _column(mean)
            centered *= drows[h]
            products[h] = _sums(centered)

    threads.in_parallel(add, len(rows), x.size)
    dbias, dweight = _total(sums), _total(products) * inverse
    scale = weight * inverse
    slope, offset = -scale * inverse * dweight / M, -scale * dbias / M
    dx = np.empty_like(drows)

    def some(start: int, stop: int) -> None:
        for h in range(start, stop):
            np.multiply(drows[h], _column(scale), out=dx[h])
            if of_batch:
                centered = rows[h] - _column(mean)
                centered *= _column(slope)
                centered += _column(offset)
                dx[h] += centered

    threads.in_parallel(some, len(rows), x.size)
    return in_shape(dx, x.shape), dweight, dbias


def _total(sums: Array) -> Array:
    """Add up the sums of rows, (H,C) -> (C,): in double precision, as there may be many rows."""
    total: Array = sums.sum(axis=0, dtype=np.float64).astype(sums.dtype)
    return total


def _sums(row: Array) -> Array:
    """Add up each channel of a row, pairwise: (C,W,N) -> (C,)."""
    return row.reshape(len(row), row[0].size).sum(axis=1)  # type: ignore[no-any-return]


def _column(values: Array) -> Array:
    """(C,) -> (C,1,1), to meet a row."""
    return values.reshape(-1, 1, 1)
