"""Is backward right? Compare it with differences of forward, in double precision."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from xpcnn.backend import Array, to_device, to_host
from xpcnn.errors import DtypeError, HyperparameterError
from xpcnn.errors.checks import function, number, whole
from xpcnn.layers import Layer
from xpcnn.random import Seed, default_rng


def numerical_gradient(f: Callable[[np.ndarray], float], x: np.ndarray, epsilon: float = 1e-5) -> np.ndarray:
    """Return df/dx by central differences, (f(x + e) - f(x - e)) / 2e, an element of x at a time.

    The book, section 4.4. The error is of order e^2, and rounding adds 1e-16 / e: so x is taken as float64.

    >>> numerical_gradient(lambda x: float((x**2).sum()), np.array([3.0, -1.0])).round(6)
    array([ 6., -2.])
    """
    function(f, "f", "numerical_gradient", "pass a function of an array that returns a number")
    epsilon = number(epsilon, "epsilon", "numerical_gradient", above=0, fix="the default is 1e-5")
    x = np.array(_floating(x, "numerical_gradient"), np.float64)
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        gradient[index] = _central_difference(f, x, index, epsilon)
    return gradient


def gradient_check(
    layer: Layer, x: Array | tuple[Array, ...], *, epsilon: float = 1e-5, samples: int = 100, rng: Seed = 0
) -> dict[str, float]:
    """Return by name how far backward's gradients are from central differences: of "x", and of every parameter.

    The loss is <c, layer(x)> with c drawn from N(0, 1), the distance max |a - n| / max(|a|, |n|) over the
    elements compared, a the gradient by backward and n by differences: right is below 1e-6, wrong is
    near 1. (Where the gradient is zero n is rounding alone, so the divisor is at least 1e6 times that.)
    A copy of the layer is checked, in float64 and in the layer's mode; chance (dropout) is held still.

    Parameters
    ----------
    layer : Layer
        With outputs in a list or tuple, c is drawn for each of them.
    x : array, or a tuple of them
        One input, or several, which are then "x.0", "x.1", ...; keep them small, and away from
        the kinks of ReLU and max pooling.
    epsilon : float
    samples : int
        How many elements of each array to compare at most, drawn at random.
    rng : numpy Generator or seed

    Examples
    --------
    >>> from xpcnn.layers import Conv
    >>> errors = gradient_check(
    ...     Conv(2, 3, 3, padding=1, rng=0), np.random.default_rng(0).random((2, 2, 5, 5))
    ... )
    >>> sorted(errors), max(errors.values()) < 1e-6
    (['bias', 'weight', 'x'], True)
    """
    if not isinstance(layer, Layer):
        raise DtypeError(f"gradient_check: expected a layer, got {layer!r:.60}; pass Conv(1, 2, 3), say")
    epsilon = number(epsilon, "epsilon", "gradient_check", above=0, fix="the default is 1e-5")
    whole(samples, "samples", "gradient_check", error=HyperparameterError)
    several = isinstance(x, tuple)
    x = tuple(_floating(part, "gradient_check") for part in x) if several else _floating(x, "gradient_check")
    rng, layer = default_rng(rng), layer.copy().astype("float64").unfreeze()
    buffers = [(buffer, to_host(buffer.data).copy()) for _, buffer in layer.named_buffers()]
    parameters = dict(layer.named_parameters())
    inputs = {f"x.{i}": part for i, part in enumerate(x)} if several else {"x": x}
    values = {name: to_host(part).astype(np.float64) for name, part in inputs.items()}
    values |= {name: to_host(parameter.data).copy() for name, parameter in parameters.items()}

    def forward(name: str = "", value: Any = None) -> Any:
        for buffer, data in buffers:
            buffer.data[...] = to_device(data)
        changed = values | ({name: value} if name else {})
        if name in parameters:
            parameters[name].data[...] = to_device(value)
        arrays = tuple(to_device(changed[part]) for part in inputs)
        return layer(arrays if several else arrays[0])

    outputs = forward()
    listed = isinstance(outputs, (list, tuple))
    ys = [to_host(y).copy() for y in (outputs if listed else [outputs])]
    cotangents = [rng.standard_normal(y.shape) for y in ys]
    size = sum(float(np.abs(y * c).sum()) for y, c in zip(ys, cotangents, strict=True))
    rounding = np.finfo(np.float64).eps * size / epsilon
    layer.zero_grad()
    dys = [to_device(c) for c in cotangents]
    dx = layer.backward(dys if listed else dys[0])
    gradients = {
        name: to_host(part).copy() for name, part in zip(inputs, dx if several else [dx], strict=True)
    }
    gradients |= {name: to_host(parameter.grad).copy() for name, parameter in parameters.items()}

    def loss(name: str, value: np.ndarray) -> float:
        found = forward(name, value)
        pairs = zip(found if listed else [found], cotangents, strict=True)
        return float(sum((to_host(y) * c).sum() for y, c in pairs))

    errors = {}
    for name, value in values.items():
        chosen = [np.unravel_index(i, value.shape) for i in rng.permutation(value.size)[:samples]]
        f = partial(loss, name)
        numerical = np.array([_central_difference(f, value, index, epsilon) for index in chosen])
        analytic = np.array([gradients[name][index] for index in chosen])
        scale = max(
            np.abs(numerical).max(), np.abs(analytic).max(), 1e6 * rounding, np.finfo(np.float64).tiny
        )
        errors[name] = float(np.abs(numerical - analytic).max() / scale)
        forward(name, value)
    return errors


def _floating(x: object, who: str) -> np.ndarray:
    """Return x on the host: real, finite and at least one element."""
    values = to_host(x)
    if values.dtype.kind not in "biuf":
        raise DtypeError(
            f"{who}: expected an array of numbers, got {values.dtype.name}; pass np.asarray(x, np.float64)"
        )
    if values.size == 0 or not np.isfinite(values).all():
        raise HyperparameterError(
            f"{who}: expected finite numbers, at least one, got {values!r:.60}; pass another x"
        )
    return values


def _central_difference(
    f: Callable[[np.ndarray], float], x: np.ndarray, index: tuple[int, ...], epsilon: float
) -> float:
    above, below = x.copy(), x.copy()
    above[index] += epsilon
    below[index] -= epsilon
    return (f(above) - f(below)) / (2 * epsilon)
