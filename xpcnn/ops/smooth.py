"""Smooth activations, x times a number between 0 and 1 that grows with x; and the error function, for GELU."""

import math

from xpcnn.backend import Array, accelerated, xp
from xpcnn.kernels.precision import in_single
from xpcnn.ops.activation import sigmoid


@accelerated
@in_single
def silu(x: Array) -> Array:
    """x sigmoid(x). Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear Units", Neural Networks 107, 2018."""
    return x * sigmoid(x)


@accelerated
@in_single
def silu_backward(dy: Array, x: Array) -> Array:
    """dx = dy s (1 + x (1 - s)), s = sigmoid(x)."""
    s = sigmoid(x)
    return dy * s * (1 + x * (1 - s))


@accelerated
@in_single
def gelu(x: Array) -> Array:
    """x Phi(x), Phi(x) = (1 + erf(x / sqrt 2)) / 2, the normal distribution.

    Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415.
    """
    return x * _normal(x)


@accelerated
@in_single
def gelu_backward(dy: Array, x: Array) -> Array:
    """dx = dy (Phi(x) + x phi(x)), phi(x) = exp(-x^2 / 2) / sqrt(2 pi)."""
    return dy * (_normal(x) + x * xp.exp(-x * x / 2) / math.sqrt(2 * math.pi))


def _normal(x: Array) -> Array:
    return (1 + erf(x / math.sqrt(2))) / 2


def erf(x: Array) -> Array:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x, to the last bits of float64.

    Three quotients of polynomials: up to 0.46875 in x^2; above, 1 - erf(x) is exp(-x^2) times one in x, and above 4
    times one in 1 / x^2.

    References
    ----------
    Cody, "Rational Chebyshev Approximations for the Error Function", Mathematics of Computation 23, 1969.
    """
    size = xp.abs(x)
    small, middle, large = xp.minimum(size, 0.46875), xp.clip(size, 0.46875, 4), xp.maximum(size, 4)
    near = small * _quotient(small * small, *_NEAR)
    rest = xp.exp(-middle * middle) * _quotient(middle, *_MIDDLE)
    inverse = 1 / (large * large)
    beyond = xp.exp(-large * large) / large * (1 / math.sqrt(math.pi) - inverse * _quotient(inverse, *_FAR))
    return xp.sign(x) * xp.where(size <= 0.46875, near, 1 - xp.where(size <= 4, rest, beyond))


def _quotient(x: Array, above: tuple[float, ...], below: tuple[float, ...]) -> Array:
    """Divide one polynomial by another; the coefficients of the highest power come first."""
    numerator, denominator = above[0], below[0]
    for a, b in zip(above[1:], below[1:], strict=True):
        numerator, denominator = numerator * x + a, denominator * x + b
    return numerator / denominator


_NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)  # fmt: skip
_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
     3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
)  # fmt: skip
_FAR = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
     1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
     2.33520497626869185e-3),
)  # fmt: skip
