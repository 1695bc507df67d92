"""Batch normalisation in NumPy, a row of the image at a time: a few products with a row that is in the cache.

    x (H,C,W,N)    row 0   c=0 | W*N numbers |   sums[0, 0] = their sum
                           c=1 | W*N numbers |   sums[0, 1]
                   row 1   c=0 | W*N numbers |   sums[1, 0]          a thread: a range of rows
                   ...                           added over rows in the end, in double precision

So a sum is the same for any number of threads. NumPy adds the numbers of a row pairwise; a product with ones, or a dot
product, may add them one after the other, and then a million equal numbers lose two digits.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpcnn.kernels.cpu import threads
from xpcnn.kernels.cpu.layout import Array, in_shape, rows_of
from xpcnn.kernels.precision import computing
from xpcnn.kernels.registry import substitute


@substitute("plain", widen=False)
def batch_statistics(x: Any) -> tuple[Any, Any]:
    """Substitute for `xpcnn.ops.batch_statistics`."""
    x = x.astype(computing(x.dtype), copy=False)
    rows, M = rows_of(x), x.size // x.shape[1]  # (H, C, W, N)
    mean = _sum_over_rows(lambda h: rows[h], rows) / M

    def squares(h: int) -> Array:
        centered: Array = rows[h] - _column(mean)
        centered *= centered
        return centered

    return mean, _sum_over_rows(squares, rows) / M


@substitute("plain")
def batch_norm(x: Any, weight: Any, bias: Any, mean: Any, variance: Any, eps: float) -> Any:
    """Substitute for `xpcnn.ops.batch_norm`."""
    rows, scale = rows_of(x), weight / np.sqrt(variance + eps)
    y = np.empty_like(rows)

    def normalize(h: int) -> None:
        np.subtract(rows[h], _column(mean), out=y[h])
        y[h] *= _column(scale)
        y[h] += _column(bias)

    _for_each_row(normalize, rows)
    return in_shape(y, x.shape)


@substitute("plain")
def batch_norm_backward(
    dy: Any, x: Any, weight: Any, mean: Any, variance: Any, eps: float, of_batch: bool
) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.batch_norm_backward`."""
    drows, rows, inverse, M = rows_of(dy), rows_of(x), 1 / np.sqrt(variance + eps), x.size // x.shape[1]

    def products(h: int) -> Array:
        centered: Array = rows[h] - _column(mean)
        centered *= drows[h]
        return centered

    dbias, dweight = _sum_over_rows(lambda h: drows[h], rows), _sum_over_rows(products, rows) * inverse
    scale = weight * inverse
    slope, offset = -scale * inverse * dweight / M, -scale * dbias / M
    dx = np.empty_like(drows)

    def combine(h: int) -> None:
        np.multiply(drows[h], _column(scale), out=dx[h])
        if of_batch:
            centered = rows[h] - _column(mean)
            centered *= _column(slope)
            centered += _column(offset)
            dx[h] += centered

    _for_each_row(combine, rows)
    return in_shape(dx, x.shape), dweight, dbias


def _sum_over_rows(terms: Callable[[int], Array], rows: Array) -> Array:
    """Add up each channel of terms(h), (C,W,N), for all rows h, and then the rows: (C,)."""
    sums = np.empty(rows.shape[:2], rows.dtype)  # (H, C)

    def add(h: int) -> None:
        of_row = terms(h)
        sums[h] = of_row.reshape(len(of_row), of_row[0].size).sum(axis=1)  # (C, W*N), pairwise

    _for_each_row(add, rows)
    total: Array = sums.sum(axis=0, dtype=np.float64).astype(sums.dtype)
    return total


def _for_each_row(function: Callable[[int], None], rows: Array) -> None:
    def run(start: int, stop: int) -> None:
        for h in range(start, stop):
            function(h)

    threads.in_parallel(run, len(rows), rows.size)


def _column(values: Array) -> Array:
    """Return (C,) as (C,1,1), to broadcast over a row (C,W,N)."""
    return values.reshape(-1, 1, 1)
