"""Checks of arguments: a NaN, a string or a float in place of an int would cause an error much later."""

import math
from collections.abc import Callable
from typing import Any

from xpcnn.errors import DtypeError, HyperparameterError, ShapeError, XpcnnError


def whole(
    value: Any, name: str, who: object, least: int = 1, *, fix: str = "", error: type[XpcnnError] = ShapeError
) -> int:
    """Return a whole number of at least `least`, Python's or NumPy's, as an int; a bool is refused.

    >>> whole(3, "groups", "Conv")
    3
    >>> whole(1.5, "groups", "Conv")
    Traceback (most recent call last):
    xpcnn.errors.ShapeError: Conv: groups must be at least 1 and a whole number, got 1.5; pass groups=1, say
    """
    fitting = is_whole(value)
    if fitting and value.__index__() >= least:
        return int(value.__index__())
    kind = "" if fitting else " and a whole number"
    raise error(
        f"{who}: {name} must be at least {least}{kind}, got {value!r}; {fix or f'pass {name}={least}, say'}"
    )


def number(
    value: Any,
    name: str,
    who: object,
    least: float = -math.inf,
    most: float = math.inf,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    fix: str = "",
    error: type[XpcnnError] = HyperparameterError,
) -> float:
    """Return a finite number, least <= value <= most and above < value < below, as a Python float.

    A NumPy float64 would promote arrays to float64, so it is converted to Python's float.

    >>> number(0.5, "p", "Flip", 0, 1)
    0.5
    >>> number(float("nan"), "p", "Flip", 0, 1, fix="it is a probability")
    Traceback (most recent call last):
    xpcnn.errors.HyperparameterError: Flip: expected 0 <= p <= 1, got nan; it is a probability
    """
    if is_number(value) and least <= value <= most and above < value < below:
        return float(value)
    low = f"{least:g} <= " if least > -math.inf else f"{above:g} < " if above > -math.inf else ""
    high = f" <= {most:g}" if most < math.inf else f" < {below:g}"
    raise error(f"{who}: expected {low}{name}{high}, got {value!r}; {fix or 'pass a number in this range'}")


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number, Python's or NumPy's, but not a bool."""
    return not _is_bool(value) and hasattr(value, "__index__") and getattr(value, "ndim", 0) == 0


def is_number(value: Any) -> bool:
    """Return whether a value is one finite real number, Python's or NumPy's."""
    if _is_bool(value) or getattr(value, "ndim", 0) != 0 or not hasattr(value, "__float__"):
        return False
    try:
        return math.isfinite(value)
    except (TypeError, ValueError, OverflowError):
        return False


def lengths(shape: Any, who: object, least: int = 0) -> tuple[int, ...]:
    """Return a shape, whole numbers of at least `least`."""
    if not isinstance(shape, (tuple, list)):
        raise ShapeError(f"{who}: expected a shape, got {shape!r:.60}; pass (out, in, *kernel)")
    return tuple(
        whole(length, "every length of a shape", who, least, fix="pass (64, 3), say") for length in shape
    )


def flag(value: Any, name: str, who: object) -> bool:
    """Return True or False; other values, such as the string "no", are refused."""
    if _is_bool(value):
        return bool(value)
    raise DtypeError(f"{who}: expected {name} to be True or False, got {value!r}; pass {name}=True, say")


def function(value: Any, name: str, who: object, fix: str) -> Callable[..., Any]:
    """Return a value that can be called."""
    if callable(value):
        return value  # type: ignore[no-any-return]
    raise DtypeError(f"{who}: expected {name} to be a function, got {value!r:.60}; {fix}")


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", "") == "b"
