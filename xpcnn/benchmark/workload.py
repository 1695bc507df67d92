"""What is measured: a network, its optimizer, and the batches that it trains on."""

import inspect
from dataclasses import dataclass, replace
from functools import cache
from typing import Self

import numpy as np

from xpcnn import data, models, optimizers
from xpcnn.benchmark.phases import Feed, OwnTraining, endless
from xpcnn.errors import BenchmarkError
from xpcnn.layers import Dropout, Layer
from xpcnn.optimizers import Optimizer

LEARNING_RATE = 1e-4
"""Small, so that a network which is timed for long does not run away."""

CHECKING_RATE = {"sgd": 1e-3, "momentum": 1e-3, "nesterov": 1e-3}
"""Of the steps whose losses are compared: large enough that a wrong gradient shows in the next loss. The other
optimizers divide by the gradient's size, so that rounding alone moves a weight by the learning rate."""


@dataclass(frozen=True)
class Workload:
    """A network of `xpcnn.models`, by name, and how it is trained: the same weights and batches everywhere.

    Attributes
    ----------
    width : float
        Multiplies the network's channels.
    image : (channels, height, width) or None
        Random images of this shape, in place of MNIST's.
    dropout : bool
        Without it p is 0 everywhere: then two programs that draw other numbers compute the same losses.
    """

    model: str = "simple"
    batch_size: int = 100
    optimizer: str = "adam"
    width: float = 1.0
    image: tuple[int, ...] | None = None
    dropout: bool = True
    lr: float = LEARNING_RATE

    def network(self) -> Layer:
        """Build the network; the seed is fixed.

        Raises
        ------
        BenchmarkError
            If it should have another width and has no such option.
        ShapeError
            If it does not fit the images.
        """
        if self.width != 1 and not has_width(self.model):
            raise BenchmarkError(
                f"{self.model} has one width only; take a network with more, such as simple, deep, resnet20"
            )
        build, wide = models.BY_NAME[self.model], {"width": self.width} if self.width != 1 else {}
        model = build(10, 0, input_shape=self.input_shape, **wide)
        for _, layer in model.named_layers():
            if isinstance(layer, Dropout) and not self.dropout:
                layer.p = 0.0
        return model

    def new_optimizer(self, model: Layer) -> Optimizer:
        """Return the optimizer of a network."""
        return optimizers.BY_NAME[self.optimizer](model.parameters(), self.lr)

    def feed(self) -> Feed:
        """Return batches without end: the same ones whoever asks.

        Raises
        ------
        DatasetError
            If MNIST has fewer images than a batch.
        """
        images, labels = _mnist() if self.image is None else _random(self.image, self.batch_size)
        return endless((images, labels), self.batch_size)

    def training(self) -> OwnTraining:
        """Return the network in training, by this package, on the active backend."""
        model = self.network()
        return OwnTraining(model, self.new_optimizer(model), self.feed())

    def check(self) -> Self:
        """Return the workload whose losses are compared: without dropout, and with steps that change the loss."""
        return replace(self, dropout=False, lr=CHECKING_RATE.get(self.optimizer, LEARNING_RATE))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image."""
        return _mnist()[0].shape[1:] if self.image is None else self.image


def has_width(model: str) -> bool:
    """Tell whether a network takes the option `width`.

    >>> has_width("simple"), has_width("resnet20"), has_width("lenet5")
    (True, True, False)
    """
    parameters = inspect.signature(models.BY_NAME[model]).parameters.values()
    return any(p.name == "width" or p.kind is p.VAR_KEYWORD for p in parameters)


@cache
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    images, labels = data.mnist().train
    return images, labels


def _random(shape: tuple[int, ...], batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Two batches: shuffling has something to do, and large images do not fill the memory."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (2 * batch_size, *shape), np.uint8), rng.integers(0, 10, 2 * batch_size)
