"""Training: the loop, its position, and metrics."""

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
