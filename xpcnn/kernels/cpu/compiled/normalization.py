"""Batch normalisation by Numba, in few passes over memory.

    x (H,C,W*N)    row 0   c=0 | W*N numbers |      the innermost loop goes along a line
                           c=1 | W*N numbers |      a thread: a range of rows
                   row 1   c=0 | W*N numbers |
                   ...

Terms are in the input's precision, sums in double: first along a line, then over rows, so that they are the same for
any number of threads.
"""

from functools import partial
from typing import Any

import numpy as np

from xpcnn.kernels.cpu import threads
from xpcnn.kernels.cpu.compiled.compiler import compiled
from xpcnn.kernels.cpu.layout import Array, in_shape, rows_of
from xpcnn.kernels.precision import computing
from xpcnn.kernels.registry import substitute


@substitute("compiled", widen=False)
def batch_statistics(x: Any) -> tuple[Any, Any]:
    """Substitute for `xpcnn.ops.batch_statistics`: one pass, row by row.

    mean = mean of rows' means        variance = mean of rows' variances + variance of rows' means
    """
    rows = _lines(x)
    means, variances = (np.empty(rows.shape[:2]) for _ in range(2))  # (H, C)
    threads.in_parallel(partial(_statistics_of_rows, rows, means, variances), len(rows), rows.size)
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


@substitute("compiled")
def batch_norm(x: Any, weight: Any, bias: Any, mean: Any, variance: Any, eps: float) -> Any:
    """Substitute for `xpcnn.ops.batch_norm`."""
    rows = _lines(x)
    scale = weight / np.sqrt(variance + eps)
    y = np.empty_like(rows)
    numbers = [_per_channel(rows, values) for values in (mean, scale, bias)]
    threads.in_parallel(partial(_normalize, rows, *numbers, y), len(rows), 2 * rows.size)
    return _images(y, x)


@compiled
def _normalize(x: Any, mean: Any, scale: Any, bias: Any, y: Any, start: int, stop: int) -> None:
    _, C, Q = x.shape
    for h in range(start, stop):
        for c in range(C):
            m, s, b = mean[c], scale[c], bias[c]
            for q in range(Q):
                y[h, c, q] = (x[h, c, q] - m) * s + b


@substitute("compiled")
def batch_norm_backward(
    dy: Any, x: Any, weight: Any, mean: Any, variance: Any, eps: float, of_batch: bool
) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.batch_norm_backward`: one pass for the sums, one for dx = a dy + b (x - mean) + c."""
    rows, drows = _lines(x), _lines(np.broadcast_to(dy, x.shape))
    inverse = 1 / np.sqrt(variance + eps)
    center = _per_channel(rows, mean)
    sums = np.empty((2, *rows.shape[:2]))  # (2, H, C)
    threads.in_parallel(partial(_sums_of_rows, drows, rows, center, *sums), len(rows), 2 * rows.size)
    dbias, products = sums.sum(axis=1)
    dweight, M = products * inverse, x.size // x.shape[1]
    factor = weight * inverse
    of_x, constant = (-factor * inverse * dweight / M, -factor * dbias / M) if of_batch else (0 * factor,) * 2
    numbers = [center, *(_per_channel(rows, values) for values in (factor, of_x, constant))]
    dx = np.empty_like(rows)
    threads.in_parallel(partial(_combine, drows, rows, *numbers, dx), len(rows), 3 * rows.size)
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


def _lines(x: Array) -> Array:
    """Return (N,C,...) as contiguous (H,C,W*N) in single or double precision."""
    rows = rows_of(x)
    (H, C), Q = rows.shape[:2], rows.shape[2] * rows.shape[3]
    rows = rows.reshape(H, C, Q)  # (H, C, W*N)
    return rows if rows.dtype == np.float32 else rows.astype(np.float64, copy=False)


def _images(rows: Array, x: Array) -> Array:
    """Return (H,C,W*N) in the shape and dtype of x."""
    (H, C, Q), N = rows.shape, len(x)
    return in_shape(rows.reshape(H, C, Q // max(N, 1), N), x.shape).astype(x.dtype, copy=False)


def _per_channel(rows: Array, values: Array) -> Array:
    """Return (C,) numbers in the precision of rows."""
    return np.ascontiguousarray(np.broadcast_to(values, rows.shape[1:2]), rows.dtype)
