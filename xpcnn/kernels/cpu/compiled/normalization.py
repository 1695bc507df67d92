"""Batch normalisation in few passes over memory; terms are in the input's precision and their sums in double, a row at
a time and then of all rows, so they depend on no number of threads.
"""

from typing import Any

import numpy as np

from xpcnn.kernels.cpu import threads
from xpcnn.kernels.cpu.compiled.compiler import compiled
from xpcnn.kernels.cpu.layout import Array, in_shape, rows_of
from xpcnn.kernels.precision import computing


def batch_statistics(x: Any) -> tuple[Any, Any]:
    """Substitute for `xpcnn.ops.batch_statistics`: one pass, row by row.

    mean = mean of rows' means        variance = mean of rows' variances + variance of rows' means
    """
    rows = _rows(x)
    means, variances = (np.empty(rows.shape[:2]) for _ in range(2))  # (H, C)

    def some(start: int, stop: int) -> None:
        _statistics_of_rows(rows, means, variances, start, stop)

    threads.in_parallel(some, len(rows), rows.size)
    dtype = computing(x.dtype)
    return means.mean(axis=0).astype(dtype), (variances.mean(axis=0) + means.var(axis=0)).astype(dtype)


@compiled
def _statistics_of_rows(x: Any, means: Any, variances: Any, start: int, stop: int) -> None:
    _, C, Q = x.shape
    for h in range(start, stop):
        for c in range(C):
            total = squares = 0.0
            for q in range(Q):
                total += x[h, c, q]
            mean = x.dtype.type(total / Q)
            for q in range(Q):
                squares += (x[h, c, q] - mean) * (x[h, c, q] - mean)
            means[h, c], variances[h, c] = total / Q, squares / Q


def batch_norm(x: Any, weight: Any, bias: Any, mean: Any, variance: Any, eps: float) -> Any:
    """Substitute for `xpcnn.ops.batch_norm`."""
    rows = _rows(x)
    scale = weight / np.sqrt(variance + eps)
    y = np.empty_like(rows)
    numbers = [_a_channel(rows, values) for values in (mean, scale, bias)]

    def some(start: int, stop: int) -> None:
        _normalize(rows, *numbers, y, start, stop)

    threads.in_parallel(some, len(rows), 2 * rows.size)
    return _images(y, x)


@compiled
def _normalize(x: Any, mean: Any, scale: Any, bias: Any, y: Any, start: int, stop: int) -> None:
    _, C, Q = x.shape
    for h in range(start, stop):
        for c in range(C):
            m, s, b = mean[c], scale[c], bias[c]
            for q in range(Q):
                y[h, c, q] = (x[h, c, q] - m) * s + b


def batch_norm_backward(
    dy: Any, x: Any, weight: Any, mean: Any, variance: Any, eps: float, of_batch: bool
) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.batch_norm_backward`: one pass for the sums, one for dx = a dy + b (x - mean) + c."""
    rows, drows = _rows(x), _rows(np.broadcast_to(dy, x.shape))
    inverse = 1 / np.sqrt(variance + eps)
    center = _a_channel(rows, mean)
    sums = np.empty((2, *rows.shape[:2]))  # (2, H, C)

    def some_sums(start: int, stop: int) -> None:
        _sums_of_rows(drows, rows, center, *sums, start, stop)

    threads.in_parallel(some_sums, len(rows), 2 * rows.size)
    dbias, products = sums.sum(axis=1)
    dweight, M = products * inverse, x.size // x.shape[1]
    factor = weight * inverse
    of_x, constant = (-factor * inverse * dweight / M, -factor * dbias / M) if of_batch else (0 * factor,) * 2
    numbers = [center, *(_a_channel(rows, values) for values in (factor, of_x, constant))]
    dx = np.empty_like(rows)

    def some(start: int, stop: int) -> None:
        _combine(drows, rows, *numbers, dx, start, stop)

    threads.in_parallel(some, len(rows), 3 * rows.size)
    return _images(dx, x), dweight.astype(x.dtype), dbias.astype(x.dtype)


@compiled
def _sums_of_rows(dy: Any, x: Any, mean: Any, of_dy: Any, of_products: Any, start: int, stop: int) -> None:
    _, C, Q = x.shape
    for h in range(start, stop):
        for c in range(C):
            total = product = 0.0
            for q in range(Q):
                total += dy[h, c, q]
                product += dy[h, c, q] * (x[h, c, q] - mean[c])
            of_dy[h, c], of_products[h, c] = total, product


@compiled
def _combine(
    dy: Any, x: Any, mean: Any, factor: Any, of_x: Any, constant: Any, dx: Any, start: int, stop: int
) -> None:
    _, C, Q = x.shape
    for h in range(start, stop):
        for c in range(C):
            m, f, g, k = mean[c], factor[c], of_x[c], constant[c]
            for q in range(Q):
                dx[h, c, q] = f * dy[h, c, q] + g * (x[h, c, q] - m) + k


def _rows(x: Array) -> Array:
    """Lay (N,C,...) out as contiguous (H,C,W*N) in single or double precision."""
    lying = rows_of(x)
    (H, C), Q = lying.shape[:2], lying.shape[2] * lying.shape[3]
    lying = lying.reshape(H, C, Q)
    return lying if lying.dtype == np.float32 else lying.astype(np.float64, copy=False)


def _images(rows: Array, x: Array) -> Array:
    """Turn (H,C,W*N) back into the shape and dtype of x."""
    (H, C, Q), N = rows.shape, len(x)
    return in_shape(rows.reshape(H, C, Q // max(N, 1), N), x.shape).astype(x.dtype, copy=False)


def _a_channel(rows: Array, values: Array) -> Array:
    """Return (C,) numbers in the precision of rows."""
    return np.ascontiguousarray(np.broadcast_to(values, rows.shape[1:2]), rows.dtype)
