"""A training step in four phases, and how long each of them takes."""

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from xpcnn.backend import synchronize, to_device
from xpcnn.benchmark.memory import Memory, peak_of
from xpcnn.data import batches
from xpcnn.errors import DatasetError
from xpcnn.layers import Layer
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import Optimizer

PHASES = ("data", "forward", "backward", "update")
"""A batch and its upload; the network and its loss; their gradients; the optimizer's step."""

Clock: TypeAlias = Callable[[], float]
Feed: TypeAlias = Iterator[tuple[np.ndarray, np.ndarray]]
"""Batches without end, on the host: float images (N,C,H,W), integer labels (N,)."""


class Training(ABC):
    """A network in training, whoever computes it: the four phases of a step, to be called in this order."""

    loss: Any = None
    """Of the last forward, wherever it lives; ``float(loss)`` reads it."""

    @abstractmethod
    def data(self) -> None:
        """Take the next batch and bring it to where the network computes."""

    @abstractmethod
    def forward(self) -> None:
        """Compute the network's output and its loss."""

    @abstractmethod
    def backward(self) -> None:
        """Compute the gradient of every parameter."""

    @abstractmethod
    def update(self) -> None:
        """Let the optimizer take its step."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until all that was asked for is computed."""

    def step(self, clock: Clock = time.perf_counter) -> list[float]:
        """Train on one batch; return the seconds of each of PHASES.

        The device is synchronised before each reading of the clock, and a phase begins where the one before it
        ended, so the phases of a step add up to the step.
        """
        times = [self._now(clock)]
        for phase in (self.data, self.forward, self.backward, self.update):
            phase()
            times.append(self._now(clock))
        return [end - begin for begin, end in itertools.pairwise(times)]

    def steps(self, count: int, clock: Clock = time.perf_counter) -> np.ndarray:
        """Train on `count` batches; return the seconds, (count, len(PHASES))."""
        return np.array([self.step(clock) for _ in range(count)]).reshape(count, len(PHASES))

    def first_step(self) -> Memory:
        """Train on one batch, and tell how far memory rose; the batch is there before."""
        self.data()

        def step() -> None:
            self.forward()
            self.backward()
            self.update()

        return self.memory_of(step)

    def memory_of(self, step: Callable[[], object]) -> Memory:
        """Call `step`, and tell how far memory rose."""
        return peak_of(step)

    def _now(self, clock: Clock) -> float:
        self.synchronize()
        return clock()


class OwnTraining(Training):
    """A network of this package in training, on the active backend."""

    def __init__(self, model: Layer, optimizer: Optimizer, feed: Feed) -> None:
        self.model, self.optimizer, self.feed = model.train(), optimizer, feed
        self.criterion = SoftmaxCrossEntropy()

    def data(self) -> None:
        self.images, self.labels = map(to_device, next(self.feed))

    def forward(self) -> None:
        self.loss = self.criterion(self.model(self.images), self.labels)

    def backward(self) -> None:
        self.model.backward(self.criterion.backward(), need_dx=False)

    def update(self) -> None:
        self.optimizer.step()

    def synchronize(self) -> None:
        synchronize()


def endless(dataset: tuple[np.ndarray, np.ndarray], batch_size: int) -> Feed:
    """Return batches of a data set, epoch after epoch: whole ones only, in fixed shuffles.

    Raises
    ------
    DatasetError
        If the data set is smaller than one batch.
    """
    images, labels = dataset
    whole = len(images) // batch_size * batch_size
    if whole == 0:
        raise DatasetError(
            f"expected at least one batch of {batch_size}, got {len(images)} images; pass a smaller batch size"
        )
    shuffled = batches(images[:whole], labels[:whole], batch_size, np.random.default_rng(0))
    return itertools.chain.from_iterable(itertools.repeat(shuffled))


def time_steps(
    model: Layer,
    optimizer: Optimizer,
    dataset: tuple[np.ndarray, np.ndarray],
    *,
    batch_size: int,
    steps: int,
    warm_up: int = 0,
    clock: Clock = time.perf_counter,
) -> np.ndarray:
    """Train for `warm_up` steps and then for `steps` that are timed; return seconds (steps, len(PHASES)).

    Raises
    ------
    DatasetError
        If the data set is smaller than one batch.
    """
    training = OwnTraining(model, optimizer, endless(dataset, batch_size))
    return training.steps(warm_up + steps, clock)[warm_up:]


def operations(model: Layer, input_shape: tuple[int, ...], batch_size: int) -> dict[str, int]:
    """Return the floating-point operations of each phase for one batch: two for every multiply-add of the layers.

    Backward costs every layer its multiply-adds twice, for dW and for dx; the first layer, whose dx nobody reads,
    once. Additions of a bias, activations, pooling, the loss and the update count as nothing.

    >>> from xpcnn.layers import Affine, Sequential
    >>> operations(Sequential(Affine(3, 4), Affine(4, 2)), (3,), batch_size=10)
    {'data': 0, 'forward': 400, 'backward': 560, 'update': 0}
    """
    forward = model.multiply_adds(input_shape)
    _, first, shape = next(model.walk(input_shape))
    backward = 2 * forward - first.multiply_adds(shape)
    return {
        "data": 0,
        "forward": 2 * batch_size * forward,
        "backward": 2 * batch_size * backward,
        "update": 0,
    }
