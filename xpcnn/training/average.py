"""A moving average of the weights, which is often better than the weights of any one step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from xpcnn.errors.checks import number
from xpcnn.optimizers import Optimizer


class MovingAverage:
    """The average of an optimizer's parameters: after step t, average = d average + (1 - d) weights.

    d = min(decay, (1 + t) / (10 + t)), so that the first steps, far from the end, are soon forgotten. Buffers, such as
    the statistics of batch normalisation, are not averaged. Polyak and Juditsky, "Acceleration of Stochastic
    Approximation by Averaging", 1992.

    Examples
    --------
    ``average.update()`` after each step of the optimizer; ``with average.in_place(): evaluate(model, test)``.
    """

    def __init__(self, optimizer: Optimizer, decay: float = 0.999) -> None:
        number(decay, "decay", "MovingAverage", 0, 1, fix="pass 0.999, say")
        self.optimizer, self.decay = optimizer, decay
        self.values = optimizer.data.copy()

    def update(self) -> None:
        """Take in the weights after a step."""
        steps = self.optimizer.steps
        decay = min(self.decay, (1 + steps) / (10 + steps))
        self.values *= decay
        self.values += (1 - decay) * self.optimizer.data

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the ``with`` block the model has the averaged weights; afterwards its own again, to the bit."""
        own = self.optimizer.data.copy()
        self.optimizer.data[...] = self.values
        try:
            yield
        finally:
            self.optimizer.data[...] = own
