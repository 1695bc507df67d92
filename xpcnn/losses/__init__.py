"""Losses: how wrong the model is, one number, and where its gradient begins. `Loss` says what a loss is."""

from xpcnn.losses.auxiliary_cross_entropy import AuxiliaryCrossEntropy
from xpcnn.losses.base import Loss
from xpcnn.losses.binary_cross_entropy import BinaryCrossEntropy
from xpcnn.losses.regression import L1, Huber, MeanSquaredError
from xpcnn.losses.softmax_cross_entropy import SoftmaxCrossEntropy

__all__ = [
    "L1",
    "AuxiliaryCrossEntropy",
    "BinaryCrossEntropy",
    "Huber",
    "Loss",
    "MeanSquaredError",
    "SoftmaxCrossEntropy",
]


def __dir__() -> list[str]:
    return __all__
