"""Training: the loop, the one call on top of it, where a training stands, and how good its model is."""

from xpcnn.training.average import MovingAverage
from xpcnn.training.callbacks import EarlyStopping
from xpcnn.training.fit import fit
from xpcnn.training.history import History
from xpcnn.training.loop import Dataset, Metric, Progress, evaluate, predict, train
from xpcnn.training.state import Position
from xpcnn.training.step import step

__all__ = [
    "Dataset",
    "EarlyStopping",
    "History",
    "Metric",
    "MovingAverage",
    "Position",
    "Progress",
    "evaluate",
    "fit",
    "predict",
    "step",
    "train",
]


def __dir__() -> list[str]:
    return __all__
