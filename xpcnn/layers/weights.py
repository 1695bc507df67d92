"""The weight and the bias of a layer, and a check of what an initializer draws: it may be anybody's function."""

from typing import Any

import numpy as np

from xpcnn.backend import Array
from xpcnn.errors import DtypeError, HyperparameterError, ShapeError
from xpcnn.errors.checks import function
from xpcnn.initializers import Initializer
from xpcnn.layers.base import Layer
from xpcnn.layers.parameter import Parameter
from xpcnn.random import Seed


class Weighted(Layer):
    """A layer with a weight and, unless it is None, a bias."""

    weight: Parameter
    bias: Parameter | None

    def _own(self, weight: np.ndarray, outputs: Any, bias: bool = True) -> None:
        """Take the weight, and a bias of zeros in the shape `outputs`."""
        self.weight = Parameter(weight)
        self.bias = Parameter(np.zeros(outputs, weight.dtype)) if bias else None

    def _bias(self) -> Array | None:
        return None if self.bias is None else self.bias.data

    def _add_gradients(self, dweight: Array, dbias: Array) -> None:
        self.weight.add_gradient(dweight)
        if self.bias is not None:
            self.bias.add_gradient(dbias)


def drawn(initializer: Initializer, shape: tuple[int, ...], rng: Seed, who: str) -> np.ndarray:
    """Return what an initializer draws for a layer called `who`.

    Raises
    ------
    DtypeError
        If it is not a function, or does not draw a floating NumPy array.
    ShapeError
        If it draws another shape.
    HyperparameterError
        If it draws a number that is not finite.
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
    for extreme in (weight.min(), weight.max()):  # both are NaN if one element is
        if not np.isfinite(extreme):
            raise HyperparameterError(
                f"{who}: expected its initializer to draw finite numbers, got {extreme}; check std or bound"
            )
    return weight
