"""The affine layer on all threads, and for features whose batch is last in memory.

y (N, O)      =  x (N, I)  @  W^T (I, O)          a task: a range of the longer side of the result:
dW (O, I)     =  dy^T      @  x                       | task 0 | task 1 | ... |   columns, or rows
dx (N, I)     =  dy        @  W
"""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy as np

from xpcnn.kernels.cpu import shares, threads
from xpcnn.kernels.cpu.layout import Array
from xpcnn.kernels.registry import substitute

GRAIN, LENGTH = 1 << 24, 256
"""Multiply-adds of a task, and its rows or columns, or more: BLAS copies the other matrix for each task."""


@substitute("plain")
def affine(x: Any, weight: Any, bias: Any) -> Any:
    """Substitute for `xpcnn.ops.affine`."""
    rows = x.reshape(-1, x.shape[-1])  # (N, I)
    y = np.empty((len(rows), len(weight)), x.dtype)
    threads.in_turn(_product(rows, weight.T, y), products=y.size * rows.shape[1])
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], len(weight))  # (..., O)


@substitute("plain")
def affine_backward(
    dy: Any, x: Any, weight: Any, need_dx: bool = True, out: Any = None
) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.affine_backward`: dx has the memory order of x, so that nothing transposes it later."""
    rows, features = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])  # (N, O), (N, I)
    dweight, dx = np.empty(weight.shape, dy.dtype) if out is None else out, None
    products = _product(rows.T, features, dweight)
    if need_dx and x.ndim == 2 and x.flags.f_contiguous:
        dx = np.empty(x.shape[::-1], dy.dtype).T
        products += _product(weight.T, rows.T, dx.T)
    elif need_dx:
        dx = np.empty(x.shape, dy.dtype)
        products += _product(rows, weight, dx.reshape(features.shape))
    threads.in_turn(products, products=(1 + need_dx) * dweight.size * len(rows))
    return dx, dweight, rows.sum(axis=0, dtype=np.float64).astype(dy.dtype)


def _product(a: Array, b: Array, out: Array) -> list[Callable[[], Any]]:
    """Return tasks that write A @ B to `out`: each a range of its longer side, however many threads there are."""
    products, longer = out.size * len(b), max(out.shape)
    ranges = shares.cut(longer, min(products // GRAIN, longer // LENGTH), products)
    if len(a) >= b.shape[1]:
        return [partial(np.matmul, a[rows], b, out=out[rows]) for rows in ranges]
    return [partial(np.matmul, a, b[:, columns], out=out[:, columns]) for columns in ranges]


@substitute("plain")
def flatten(x: Any) -> Any:
    """Substitute for `xpcnn.ops.flatten`: from (H,C,W,N) to (I,N), which keeps the batch last in memory."""
    N, features = len(x), prod(x.shape[1:])
    if x.ndim != 4 or x.strides[0] != x.itemsize:
        return x.reshape(N, features)  # (N, I)
    rows = x.transpose(1, 2, 3, 0).reshape(features, N)  # (I, N), a copy of W*N numbers at a time
    return rows.T
