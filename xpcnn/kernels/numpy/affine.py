"""The affine layer on all threads, and for features whose batch lies last."""

from math import prod
from typing import Any

import numpy as np

from xpcnn.kernels.numpy.layout import Array
from xpcnn.kernels.numpy.threads import in_parallel


def affine(x: Any, weight: Any, bias: Any) -> Any:
    """Substitute for `xpcnn.ops.affine`."""
    y = _product(x.reshape(-1, x.shape[-1]), weight.T)  # (M, O)
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], len(weight))


def affine_backward(dy: Any, x: Any, weight: Any, need_dx: bool = True) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.affine_backward`: dx in the memory order of x, so what follows need not turn it."""
    rows, features = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
    dx = None
    if need_dx and x.ndim == 2 and x.flags.f_contiguous:
        dx = _product(weight.T, rows.T).T
    elif need_dx:
        dx = _product(rows, weight).reshape(x.shape)
    return dx, _product(rows.T, features), rows.sum(axis=0)


def _product(a: Array, b: Array) -> Array:
    """A @ b, each thread its share of the longer side of the result."""
    product = np.empty((len(a), b.shape[1]), a.dtype)
    tall = len(a) >= b.shape[1]

    def some(start: int, stop: int) -> None:
        if tall:
            np.matmul(a[start:stop], b, out=product[start:stop])
        else:
            np.matmul(a, b[:, start:stop], out=product[:, start:stop])

    in_parallel(some, max(product.shape), product.size * a.shape[1])
    return product


def flatten(x: Any) -> Any:
    """Substitute for `xpcnn.ops.flatten`: images whose batch lies last become features whose batch does."""
    N, features = len(x), prod(x.shape[1:])
    if x.ndim != 4 or x.strides[0] != x.itemsize:
        return x.reshape(N, features)
    return x.transpose(1, 2, 3, 0).reshape(features, N).T  # copies rows of W*N at once
