"""Training: the loop, where it stands, and how good its model is."""

from xpcnn.training.loop import Dataset, Metric, Progress, evaluate, predict, train
from xpcnn.training.state import Position

__all__ = [
    "Dataset",
    "Metric",
    "Position",
    "Progress",
    "evaluate",
    "predict",
    "train",
]
