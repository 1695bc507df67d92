"""A training step in four phases, and how long each of them takes."""

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from xpcnn.backend import synchronize, to_device
from xpcnn.benchmark.memory import Memory, watch_memory
from xpcnn.data import batches
from xpcnn.errors import DatasetError
from xpcnn.layers import Layer
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import Optimizer
from xpcnn.training import step

PHASES = ("data", "forward", "backward", "update")
"""A batch and its upload; the network and its loss; their gradients; the optimizer's step."""

ENDS = {"loss": "forward", "backward": "backward", "update": "update"}
"""Which phase is over after a part of `training.step`."""

Clock: TypeAlias = Callable[[], float]
Feed: TypeAlias = Iterator[tuple[np.ndarray, np.ndarray]]
"""Batches without end, on the host: float images (N,C,H,W), integer labels (N,)."""


class Training(ABC):
    """A network in training, here or in another program."""

    loss: Any = None
    """Of the last step; ``float(loss)`` reads it."""

    versions: Mapping[str, str] = {}
    """Of programs other than this one, for the record."""

    @abstractmethod
    def run(self, mark: Callable[[str], object]) -> None:
        """Train on the next batch; call ``mark(phase)`` when each of PHASES is over."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until everything asked for is computed."""

    def watch_memory(self) -> Callable[[], Memory]:
        """Begin to watch memory; the function that is returned says how far it has risen."""
        return watch_memory()

    def step(self, clock: Clock = time.perf_counter) -> list[float]:
        """Train on one batch; return the seconds of each of PHASES.

        The clock is read when the device is done, and a phase begins where the one before ended, so the phases
        of a step add up to the step.
        """
        times: list[float] = []

        def read(phase: str = "") -> None:
            self.synchronize()
            times.append(clock())

        read()
        self.run(read)
        return [end - begin for begin, end in itertools.pairwise(times)]

    def steps(self, count: int, clock: Clock = time.perf_counter) -> np.ndarray:
        """Train on `count` batches; return the seconds, (count, len(PHASES))."""
        return np.array([self.step(clock) for _ in range(count)]).reshape(count, len(PHASES))

    def first_step(self) -> Memory:
        """Train on one batch; return how far memory rose once the batch was there."""
        risen: list[Callable[[], Memory]] = []
        self.run(lambda phase: risen.append(self.watch_memory()) if phase == "data" else None)
        return risen[0]()


class OwnTraining(Training):
    """A network of this package in training, on the active backend."""

    def __init__(self, model: Layer, optimizer: Optimizer, feed: Feed) -> None:
        self.model, self.optimizer, self.feed = model.train(), optimizer, feed
        self.criterion = SoftmaxCrossEntropy()

    def run(
        self, mark: Callable[[str], object], after: Callable[[str, Any], object] = lambda *_: None
    ) -> None:
        """Train on the next batch; `after` is called as `training.step` calls it."""

        def both(part: str, value: Any) -> None:
            after(part, value)
            if part in ENDS:
                mark(ENDS[part])

        images, labels = map(to_device, next(self.feed))
        mark("data")
        self.loss = step(self.model, self.criterion, self.optimizer, images, labels, both)

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


def operations(model: Layer, input_shape: tuple[int, ...], batch_size: int) -> dict[str, int]:
    """Return the floating-point operations of each phase for one batch: two for every multiply-add of the layers.

    Backward costs every layer its multiply-adds twice, for dW and for dx; the first layer, whose dx nobody reads,
    once. Biases, activations, pooling, the loss and the update count as nothing.

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
