"""The affine layer on all threads, and for features whose batch lies last."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from xpcnn.kernels.numpy import threads
from xpcnn.kernels.numpy.layout import Array
from xpcnn.kernels.numpy.threads import in_parallel


def affine(x: Any, weight: Any, bias: Any) -> Any:
    """Substitute for `xpcnn.ops.affine`."""
    rows = x.reshape(-1, x.shape[-1])
    y = np.empty((len(rows), len(weight)), x.dtype)
    in_parallel(_product(rows, weight.T, y), threads.count(), products=y.size * rows.shape[1])
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], len(weight))


def affine_backward(dy: Any, x: Any, weight: Any, need_dx: bool = True) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.affine_backward`: dx in the memory order of x, so what follows need not turn it."""
    rows, features = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
    dweight = np.empty(weight.shape, dy.dtype)
    products = [_product(rows.T, features, dweight)]
    if need_dx and x.ndim == 2 and x.flags.f_contiguous:
        dx = np.empty(x.shape[::-1], dy.dtype).T
        products.append(_product(weight.T, rows.T, dx.T))
    elif need_dx:
        dx = np.empty(x.shape, dy.dtype)
        products.append(_product(rows, weight, dx.reshape(features.shape)))

    def some(start: int, stop: int) -> None:
        for product in products:
            product(start, stop)

    in_parallel(some, threads.count(), products=len(products) * dweight.size * len(rows))
    return dx if need_dx else None, dweight, rows.sum(axis=0, dtype=np.float64).astype(dy.dtype)


def _product(a: Array, b: Array, out: Array) -> Callable[[int, int], None]:
    """Return the function that computes some of threads.count() shares of A @ B: of the longer side of the result."""
    tall = len(a) >= b.shape[1]

    def some(start: int, stop: int) -> None:
        part = threads.share(max(out.shape), start, stop)
        if tall:
            np.matmul(a[part], b, out=out[part])
        else:
            np.matmul(a, b[:, part], out=out[:, part])

    return some


def flatten(x: Any) -> Any:
    """Substitute for `xpcnn.ops.flatten`: images whose batch lies last become features whose batch does."""
    N, features = len(x), prod(x.shape[1:])
    if x.ndim != 4 or x.strides[0] != x.itemsize:
        return x.reshape(N, features)
    return x.transpose(1, 2, 3, 0).reshape(features, N).T  # copies rows of W*N at once
