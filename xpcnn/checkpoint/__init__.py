"""Weights, and whole trainings, on disk: safetensors, a format that holds numbers and no code.

A checkpoint holds all that a training needs to continue to the bit: weights, every buffer, the optimizer's state, and
the `Position` with its random generator.
"""

from xpcnn.checkpoint.trainings import load_checkpoint, read_config, save_checkpoint
from xpcnn.checkpoint.weights import load_weights, read_weights, save_weights

__all__ = [
    "load_checkpoint",
    "load_weights",
    "read_config",
    "read_weights",
    "save_checkpoint",
    "save_weights",
]


def __dir__() -> list[str]:
    return __all__
