"""The book's ``Trainer`` (``common/trainer.py``, section 7.5): batches at random, losses, and accuracy by the epoch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from tqdm import tqdm

from xpcnn.backend import Array, to_device, to_host
from xpcnn.errors import HyperparameterError
from xpcnn.interop.book.optimizer import SGD, AdaGrad, Adam, Momentum, Nesterov, Optimizer, RMSprop

OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.__name__.lower(): kind for kind in (SGD, Momentum, Nesterov, AdaGrad, RMSprop, Adam)
}


class Trainer:
    """Train a network that has `params`, `gradient(x, t)`, `loss(x, t)` and `accuracy(x, t)`.

    Batches are drawn with ``np.random.choice`` of NumPy's global generator, as in the book: ``np.random.seed`` makes a
    run repeatable. Data may lie on the host or on the device. An epoch is as many steps as whole batches fit into the
    data; the book's, where they do not fit, is no whole number, and few of its epochs ever end.

    Parameters
    ----------
    optimizer : str
        "SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop" or "Adam", in any case (the book knows "rmsprpo").
    optimizer_param : dict
        Its arguments.
    evaluate_sample_num_per_epoch : int or None
        How many images the accuracies of an epoch are of; None takes all.
    verbose : bool
        Print the losses and accuracies, as the book does.

    Attributes
    ----------
    train_loss_list, train_acc_list, test_acc_list : list of float

    Raises
    ------
    HyperparameterError
        For an optimizer of another name.
    """

    def __init__(
        self,
        network: Any,
        x_train: Array,
        t_train: Array,
        x_test: Array,
        t_test: Array,
        epochs: int = 20,
        mini_batch_size: int = 100,
        optimizer: str = "SGD",
        optimizer_param: Mapping[str, float] | None = None,
        evaluate_sample_num_per_epoch: int | None = None,
        verbose: bool = True,
    ) -> None:
        if optimizer.lower() not in OPTIMIZERS:
            names = ", ".join(kind.__name__ for kind in OPTIMIZERS.values())
            raise HyperparameterError(f"Trainer: optimizer {optimizer!r} is unknown; pass one of: {names}")
        self.network, self.verbose = network, verbose
        self.x_train, self.t_train, self.x_test, self.t_test = x_train, t_train, x_test, t_test
        self.epochs, self.batch_size = epochs, mini_batch_size
        self.evaluate_sample_num_per_epoch = evaluate_sample_num_per_epoch
        self.optimizer = OPTIMIZERS[optimizer.lower()](**(optimizer_param or {"lr": 0.01}))
        self.train_size = len(x_train)
        self.iter_per_epoch = max(self.train_size // mini_batch_size, 1)
        self.max_iter = epochs * self.iter_per_epoch
        self.current_iter = self.current_epoch = 0
        self.train_loss_list: list[float] = []
        self.train_acc_list: list[float] = []
        self.test_acc_list: list[float] = []

    def train_step(self) -> None:
        """Learn from one batch; before the first step's successor of each epoch, measure."""
        batch = np.random.choice(self.train_size, self.batch_size)  # noqa: NPY002 - the generator that programs seed
        x, t = _take(self.x_train, batch), _take(self.t_train, batch)
        self.optimizer.update(self.network.params, self.network.gradient(x, t))
        self.train_loss_list.append(float(to_host(self.network.loss(x, t))))
        self._say(f"train loss:{self.train_loss_list[-1]}")
        if self.current_iter % self.iter_per_epoch == 0:
            self.current_epoch += 1
            self.train_acc_list.append(self._accuracy(self.x_train, self.t_train))
            self.test_acc_list.append(self._accuracy(self.x_test, self.t_test))
            self._say(f"=== epoch:{self.current_epoch}, train acc:{self.train_acc_list[-1]}, "
                      f"test acc:{self.test_acc_list[-1]} ===")  # fmt: skip
        self.current_iter += 1

    def train(self) -> None:
        """Take all steps, then test on all test images."""
        for _ in range(self.max_iter):
            self.train_step()
        accuracy = float(to_host(self.network.accuracy(to_device(self.x_test), to_device(self.t_test))))
        self._say(f"=============== Final Test Accuracy ===============\ntest acc:{accuracy}")

    def _accuracy(self, x: Array, t: Array) -> float:
        count = self.evaluate_sample_num_per_epoch
        return float(to_host(self.network.accuracy(to_device(x[:count]), to_device(t[:count]))))

    def _say(self, text: str) -> None:
        if self.verbose:
            tqdm.write(text)


def _take(array: Array, index: np.ndarray) -> Array:
    """Return rows of an array of either side, on the device."""
    return to_device(array[index]) if isinstance(array, np.ndarray) else array[to_device(index)]
