"""A layer's weight as its initializer draws it: checked, for an initializer may be anybody's function."""

import numpy as np

from xpcnn.errors import DtypeError, HyperparameterError, ShapeError
from xpcnn.errors.checks import function
from xpcnn.initializers import Initializer
from xpcnn.random import Seed


def drawn(initializer: Initializer, shape: tuple[int, ...], rng: Seed, who: str) -> np.ndarray:
    """Return what an initializer draws for a layer called `who`.

    Raises
    ------
    DtypeError
        If that is no initializer, or what it draws is no floating NumPy array.
    ShapeError
        If it has another shape.
    HyperparameterError
        If there is a number in it that is not finite.
    """
    weight = function(initializer, "initializer", who, "pass initializer=he_normal, say")(shape, rng)
    if not isinstance(weight, np.ndarray) or weight.dtype.kind != "f":
        kind = weight.dtype.name if isinstance(weight, np.ndarray) else type(weight).__name__
        raise DtypeError(
            f"{who}: expected its initializer to draw a floating NumPy array, got {kind}; return x.astype(np.float32)"
        )
    if weight.shape != tuple(shape):
        raise ShapeError(
            f"{who}: expected its initializer to draw {tuple(shape)}, got {weight.shape}; return that shape"
        )
    for extreme in (weight.min(), weight.max()):  # a NaN is both
        if not np.isfinite(extreme):
            raise HyperparameterError(
                f"{who}: expected its initializer to draw finite numbers, got {extreme}; check std or bound"
            )
    return weight
