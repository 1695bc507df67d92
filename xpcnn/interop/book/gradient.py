"""The book's numerical gradient (``common/gradient.py``, section 4.4)."""

from collections.abc import Callable

import numpy as np

from xpcnn.backend import Array, to_host, xp


def numerical_gradient(f: Callable[[Array], Array | float], x: Array) -> Array:
    """Return df/dx by central differences, (f(x + h) - f(x - h)) / 2h with h = 1e-4, an element of x at a time.

    As in the book, f may ignore its argument and read x itself: each element is changed in place, and put back. In
    float32 an h so small leaves two digits; `xpcnn.debug.gradients.numerical_gradient` computes in float64.

    >>> numerical_gradient(lambda x: (x**2).sum(), np.array([3.0, -1.0])).round(6)
    array([ 6., -2.])
    """
    h, gradient = 1e-4, xp.zeros_like(x)
    for index in np.ndindex(*x.shape):
        value = x[index].copy()
        try:
            x[index] = value + h
            above = float(to_host(f(x)))
            x[index] = value - h
            below = float(to_host(f(x)))
        finally:
            x[index] = value
        gradient[index] = (above - below) / (2 * h)
    return gradient
