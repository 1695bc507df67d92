"""Training: the loop, where it stands, and how good its model is."""

from xpcnn.training.average import MovingAverage
from xpcnn.training.loop import Dataset, Metric, Progress, evaluate, predict, train
from xpcnn.training.state import Position
from xpcnn.training.step import step

__all__ = [
    "Dataset",
    "Metric",
    "MovingAverage",
    "Position",
    "Progress",
    "evaluate",
    "predict",
    "step",
    "train",
]
