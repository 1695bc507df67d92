"""Batch normalisation in NumPy, a row of the image at a time: a few products with a row that is in the cache.

    x (H,C,W,N)    row 0   c=0 | W*N numbers |   sums[0, 0] = their sum
                           c=1 | W*N numbers |   sums[0, 1]
                   row 1   c=0 | W*N numbers |   sums[1, 0]          a thread: a range of rows
                   ...                           added over rows in the end, in double precision

So a sum is the same for any number of threads. NumPy adds the numbers of a row pairwise; a product with ones, or a dot
product, may add them one after the other, and then a million equal numbers lose two digits.
"""

from collections.abc import Callable, Iterator
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
    mean = _sums(lambda h: iter([rows[h]]), rows)[0] / M

    def squares(h: int) -> Iterator[Array]:
        centered = rows[h] - _column(mean)
        centered *= centered
        yield centered

    return mean, _sums(squares, rows)[0] / M


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

    def gradients(h: int) -> Iterator[Array]:
        yield drows[h]
        centered = rows[h] - _column(mean)
        centered *= drows[h]
        yield centered

    dbias, products = _sums(gradients, rows, 2)
    dweight, scale = products * inverse, weight * inverse
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


def _sums(terms: Callable[[int], Iterator[Array]], rows: Array, number: int = 1) -> list[Array]:
    """Return `number` sums (C,): each channel of what terms(h) yields, (C,W,N), for each row h, and then the rows."""
    sums = np.empty((number, *rows.shape[:2]), rows.dtype)  # (number, H, C)

    def add(h: int) -> None:
        for of_rows, term in zip(sums, terms(h), strict=True):
            of_rows[h] = term.reshape(len(term), term[0].size).sum(axis=1)  # (C, W*N), pairwise

    _for_each_row(add, rows)
    return [of_rows.sum(axis=0, dtype=np.float64).astype(rows.dtype) for of_rows in sums]


def _for_each_row(function: Callable[[int], None], rows: Array) -> None:
    def run(start: int, stop: int) -> None:
        for h in range(start, stop):
            function(h)

    threads.in_parallel(run, len(rows), rows.size)


def _column(values: Array) -> Array:
    """Return (C,) as (C,1,1), to broadcast over a row (C,W,N)."""
    return values.reshape(-1, 1, 1)  # (C, 1, 1)
