"""Dropout."""

import math
from typing import Any

import numpy as np

from xpcnn import ops
from xpcnn.backend import Array, xp
from xpcnn.errors import CheckpointError, HyperparameterError
from xpcnn.errors.checks import is_number
from xpcnn.layers.base import Layer
from xpcnn.layers.parameter import Buffer
from xpcnn.layers.shapes import same_shape
from xpcnn.random import Seed, draw_key


class Dropout(Layer):
    """In training set each element to zero with probability p, and scale the rest by 1 / (1 - p).

    So the mean stays the same, and evaluation changes nothing ("inverted" dropout; the book scales in evaluation
    instead). The mask is a function of a key, drawn at construction, and of a counter on the device: it is identical
    on every backend, and nothing is downloaded.

    Parameters
    ----------
    p : float
        Probability that an element is set to zero, 0 <= p < 1.
    rng : numpy Generator or seed
        Draws the key.

    Raises
    ------
    HyperparameterError
        For p outside of [0, 1).

    References
    ----------
    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15, 2014.
    """

    def __init__(self, p: float = 0.5, *, rng: Seed = None) -> None:
        if not (is_number(p) and 0 <= p < 1):
            raise HyperparameterError(
                f"Dropout: p must be at least 0 and below 1, got {p!r}; p is the share that is dropped"
            )
        self.p, self.key = float(p), draw_key(rng)  # a np.float64 would make arrays float64
        self.counter = Buffer(np.zeros(1, np.uint64), persistent=False)

    def forward(self, x: Array) -> Array:
        if not self.training or self.p == 0:
            self.save_for_backward(None)
            return x
        keep = ops.keep_mask(x.shape, self.p, self.counter.data, self.key)
        self.counter.data += xp.uint64(math.prod(x.shape))  # in place: a recorded step has its address
        self.save_for_backward(keep)
        return self._apply(keep, x)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (keep,) = self.pop_saved()
        return dy if keep is None else self._apply(keep, dy)

    output_shape = same_shape

    def extra_state(self) -> dict[str, Any]:
        return {"key": self.key}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        if type(state["key"]) is not int:
            raise CheckpointError(f"{self}: expected a key, a whole number, got {state['key']!r:.40}")
        self.key = state["key"]

    def _apply(self, keep: Array, x: Array) -> Array:
        return x * keep * (1 / (1 - self.p))
