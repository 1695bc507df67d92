"""Where a training is: what it needs, besides model and optimizer, to go on as if it had never stopped."""

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
        The one under way, counted from 1. It stays so until the caller asks for the next: a position kept between
        two epochs is at the end of the former, and whoever goes on from there is given that epoch's loss once
        more. So nothing that follows an epoch, a test or a line of metrics, is lost with a process.
    step : int
        Batches of this epoch that the model has learnt from.
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
        """Count a step, and keep its loss, where it is."""
        self.losses[self.step] = loss
        self.step += 1

    @property
    def ended(self) -> bool:
        """Whether every step of the epoch is done."""
        return self.start is not None and self.step == len(self.losses)

    def next_epoch(self) -> None:
        """Stand before the next epoch's shuffle."""
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
    kinds = {kind.__name__: kind for kind in (
        np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64,
    )}  # fmt: skip
    name = state["bit_generator"]
    if name not in kinds:
        raise CheckpointError(f"random generator {name!r} is unknown; use one of: {', '.join(kinds)}")
    bits: Any = kinds[name]()
    bits.state = state
    return np.random.Generator(bits)
