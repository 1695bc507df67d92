"""The cross-entropy of yes or no, from logits: for two classes, for several labels at once, for masks."""

from __future__ import annotations

import numpy as np

from xpcnn import ops
from xpcnn.backend import Array, xp
from xpcnn.errors import DatasetError
from xpcnn.errors.checks import number
from xpcnn.layers import Sigmoid
from xpcnn.losses.base import MEAN
from xpcnn.losses.elementwise import Elementwise


class BinaryCrossEntropy(Elementwise):
    """The mean over all M elements of -t log s(z) - (1 - t) log(1 - s(z)), where s is the sigmoid and z are logits.

        L = 1/M sum  max(z, 0) - z t + log(1 + exp(-|z|))        dL/dz = (s(z) - t) / M

    No logarithm of a tiny number is computed, so logits of 1e4 are safe. Targets are 0 and 1, or probabilities
    between them, of any dtype. With reduction "sum" M is 1. Shapes and errors are those of `Elementwise`; targets on
    the host are checked to be from 0 to 1.

    Parameters
    ----------
    positive_weight : float
        A factor on the first term, -t log s(z): above 1 where positive examples are rare. PyTorch's ``pos_weight``.
    reduction : "mean" or "sum"
    """

    applies = Sigmoid

    def __init__(self, positive_weight: float = 1.0, reduction: str = MEAN) -> None:
        super().__init__(reduction)
        self.positive_weight = number(
            positive_weight, "positive_weight", "BinaryCrossEntropy", 0, fix="1 weighs both equally"
        )

    def values_and_slopes(self, y: Array, target: Array) -> tuple[Array, Array]:
        log = xp.log1p(xp.exp(-xp.abs(y)))
        if self.positive_weight == 1:
            return xp.maximum(y, 0) - y * target + log, ops.sigmoid(y) - target
        # -log s(z) = max(-z, 0) + log, and -log(1 - s(z)) is larger by z
        factor = 1 + (self.positive_weight - 1) * target
        rest = 1 - target
        return rest * y + factor * (xp.maximum(-y, 0) + log), rest - factor * ops.sigmoid(-y)

    def _check(self, y: Array, target: Array) -> None:
        super()._check(y, target)
        if isinstance(target, np.ndarray):
            self._check_values(target)

    def _check_values(self, targets: np.ndarray) -> None:
        if not (0 <= targets.min(initial=0) and targets.max(initial=0) <= 1):  # false for NaN
            index = tuple(map(int, np.argwhere(~((targets >= 0) & (targets <= 1)))[0]))
            raise DatasetError(
                f"{self}: expected targets from 0 to 1, got {targets[index]} at index {index}; "
                "pass probabilities: 0 for no, 1 for yes"
            )
