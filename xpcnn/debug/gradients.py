"""Is backward right? Compare it with differences of forward, in double precision."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from xpcnn.backend import Array, to_device, to_host
from xpcnn.errors import DtypeError, HyperparameterError
from xpcnn.errors.checks import function, number, whole
from xpcnn.layers import Layer
from xpcnn.random import Seed, default_rng


def numerical_gradient(f: Callable[[np.ndarray], float], x: np.ndarray, epsilon: float = 1e-5) -> np.ndarray:
    """Return df/dx by central differences, (f(x + e) - f(x - e)) / 2e, an element of x at a time.

    The book, section 4.4. The error is of order e^2, and rounding adds 1e-16 / e, so x is converted to float64.

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


class Gradient(NamedTuple):
    """Some elements of a gradient: by backward, by differences of forward, and the scale of their error."""

    analytic: np.ndarray
    numerical: np.ndarray
    scale: float

    @property
    def error(self) -> float:
        """The largest difference between the two, divided by the scale."""
        return float(np.abs(self.numerical - self.analytic).max() / self.scale)

    def fault(self, name: str, batch_size: int) -> str:
        """Say how the gradient of `name` differs from the derivative of forward, and what to look for."""
        a, n, scale = self
        dx = name.partition(".")[0] == "x"
        who = f"the d{name} that backward() returns" if dx else f"the gradient of {name} that backward() adds"
        if not np.isfinite([a, n]).all():
            return f"{who}, or y, is not finite for x between -2 and 2; check divisions, exp() and log()"
        if not a.any():
            fix = "return dL/dx" if dx else f"call self.{name}.add_gradient(...) in backward()"
            return f"{who} is zero, but y depends on {name}; {fix}"
        ratio = float((a * n).sum() / max((n * n).sum(), np.finfo(np.float64).tiny))
        if np.abs(a - ratio * n).max() > 1e-4 * scale:
            return (
                f"{who} is wrong: it differs from differences of forward() by {self.error:.2g} of its largest element; "
                "look for a missing transpose, or a sum over another axis"
            )
        fix = "find this factor in backward(), and remove it"
        if abs(ratio * batch_size - 1) < 1e-3:
            fix = (
                "add up the samples of the batch and take no mean: the loss divides by the batch size already"
            )
        return f"{who} is {ratio:.3g} times what differences of forward() give; {fix}"


def gradient_check(
    layer: Layer, x: Array | tuple[Array, ...], *, epsilon: float = 1e-5, samples: int = 100, rng: Seed = 0
) -> dict[str, float]:
    """Return by name how far backward's gradients are from central differences: of "x", and of every parameter.

    The loss is <c, layer(x)> with c drawn from N(0, 1), the distance max |a - n| / max(|a|, |n|) over the
    elements compared, a the gradient by backward and n by differences: it is below 1e-6 if backward is right,
    near 1 if not. (Where the gradient is zero, n is rounding alone, so the divisor is at least 1e6 times that.)
    A copy of the layer is checked, in float64 and in the mode of the layer; random masks (dropout) stay the same.

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
    both = both_gradients(layer, x, epsilon, samples, rng)
    return {name: gradient.error for name, gradient in both.items()}


def both_gradients(layer: Layer, x: Any, epsilon: float, samples: int, rng: Seed) -> dict[str, Gradient]:
    """Return what `gradient_check` compares, by name."""
    several = isinstance(x, tuple)
    inputs = {f"x.{i}": part for i, part in enumerate(x)} if several else {"x": x}
    values = {name: _floating(part, "gradient_check").astype(np.float64) for name, part in inputs.items()}
    layer = layer.copy().astype("float64").unfreeze()
    # a stream of its own: with the seed of the weights c would be equal to them, and hide a transposed gradient
    rng = np.random.default_rng(default_rng(rng).integers(2**63, size=4))
    buffers = [(buffer, to_host(buffer.data).copy()) for _, buffer in layer.named_buffers()]
    parameters = dict(layer.named_parameters())
    values |= {name: to_host(parameter.data).copy() for name, parameter in parameters.items()}

    def forward(name: str = "", value: Any = None) -> Any:
        for buffer, data in buffers:
            buffer.data[...] = to_device(data)
        changed = values | {name: value}
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
    least = max(1e6 * rounding, float(np.finfo(np.float64).tiny))
    layer.zero_grad()
    dys = [to_device(c) for c in cotangents]
    dx = layer.backward(dys if listed else dys[0])
    analytic = dict(zip(inputs, dx if several else [dx], strict=True))
    analytic |= {name: parameter.grad for name, parameter in parameters.items()}
    analytic = {name: to_host(gradient).copy() for name, gradient in analytic.items()}

    def loss(name: str, value: np.ndarray) -> float:
        y = forward(name, value)
        pairs = zip(y if listed else [y], cotangents, strict=True)
        return float(sum((to_host(y) * c).sum() for y, c in pairs))

    found = {}
    for name, value in values.items():
        chosen = [np.unravel_index(i, value.shape) for i in rng.permutation(value.size)[:samples]]
        f = partial(loss, name)
        n = np.array([_central_difference(f, value, index, epsilon) for index in chosen])
        forward(name, value)  # the parameter as it was
        a = np.array([analytic[name][index] for index in chosen])
        found[name] = Gradient(a, n, max(np.abs(n).max(), np.abs(a).max(), least))
    return found


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
