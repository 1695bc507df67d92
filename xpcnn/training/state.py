"""The position of a training: with model and optimizer it is all that a training needs to continue exactly."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xpcnn.backend import Array, xp
from xpcnn.errors import CheckpointError
from xpcnn.random import Seed, default_rng

GeneratorState: TypeAlias = dict[str, Any]
"""What ``rng.bit_generator.state`` gives and takes; JSON can hold it once its arrays are lists."""


class Position:
    """An epoch, how far it has come, and the generator that shuffles and augments.

    `training.train` moves it on after every step; `checkpoint` writes it to a file and reads it back.

    Parameters
    ----------
    rng : numpy Generator or seed

    Attributes
    ----------
    epoch : int
        The current one, counted from 1, until the caller asks for the next. A position saved between two epochs is at
        the end of the first, and training continues from there by yielding its loss once more. So an evaluation or
        a line of metrics after an epoch is not lost with the process.
    step : int
        Batches of this epoch that are done.
    losses : array (steps of an epoch,), on the device
        For each of those batches its mean loss times its images.
    images : int
        Of the data set.
    start : dict, or None before the epoch's shuffle
        The generator's state at that moment.
    """

    def __init__(self, rng: Seed = None) -> None:
        self.rng, self.epoch, self.step, self.images = default_rng(rng), 1, 0, 0
        self.start: GeneratorState | None = None
        self.losses: Array = xp.zeros(0, xp.float32)

    def shuffle(self, images: int, steps: int) -> NDArray[np.int64]:
        """Return the epoch's order of `images` images, in `steps` steps: drawn, or, once it has begun, drawn again.

        Raises
        ------
        CheckpointError
            If the epoch was begun with another number of images or steps.
        """
        if self.start is None:
            self.start = dict(self.rng.bit_generator.state)
            self.images, self.losses = images, xp.zeros(steps, xp.float32)
            return self.rng.permutation(images)
        if (self.images, len(self.losses)) != (images, steps):
            raise CheckpointError(
                f"train: expected the {self.images:,} images in {len(self.losses):,} steps that epoch {self.epoch} was "
                f"begun with, got {images:,} in {steps:,}; pass the same data set and batch_size"
            )
        return generator(self.start).permutation(images)

    def advance(self, loss: Array) -> None:
        """Count a step, and keep its loss on the device."""
        self.losses[self.step] = loss
        self.step += 1

    @property
    def ended(self) -> bool:
        """Whether every step of the epoch is done."""
        return self.start is not None and self.step == len(self.losses)

    def next_epoch(self) -> None:
        """Go to the beginning of the next epoch, before its shuffle."""
        self.epoch, self.step, self.start = self.epoch + 1, 0, None

    def __repr__(self) -> str:
        return f"Position(epoch {self.epoch}, {self.step} of {len(self.losses)} steps)"


def generator(state: GeneratorState) -> np.random.Generator:
    """Return a new Generator in a state that another one was in.

    >>> rng = np.random.default_rng(0)
    >>> twin = generator(rng.bit_generator.state)
    >>> rng.random() == twin.random()
    True
    """
    kinds = "PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"
    name = state["bit_generator"]
    if name not in kinds:
        raise CheckpointError(f"random generator {name!r} is unknown; use one of: {', '.join(kinds)}")
    bits: Any = getattr(np.random, name)()
    bits.state = state
    return np.random.Generator(bits)
