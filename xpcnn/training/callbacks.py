"""Callbacks of `fit`: functions of (model, history), called after each epoch. An object with one method will do."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from xpcnn.backend import Array
from xpcnn.errors import HyperparameterError
from xpcnn.errors.checks import function, whole
from xpcnn.layers import Layer
from xpcnn.training.history import History

Callback: TypeAlias = Callable[[Layer, History], object]


class EarlyStopping:
    """Stop after `patience` epochs that are no better than the best; the model then ends with the best one's weights.

    It does so too where the last epoch is not the best one. The best epoch is `History.best`.

    Raises
    ------
    HyperparameterError
        If `patience` is not a whole number of at least 1.
    """

    def __init__(self, patience: int) -> None:
        self.patience = whole(patience, "patience", "EarlyStopping", error=HyperparameterError)
        self._kept: dict[str, Array] = {}

    def __call__(self, model: Layer, history: History) -> None:
        last, best = history.epochs[-1], history.best
        arrays = {name: value.data for name, value in model.named_parameters()}
        arrays |= {name: value.data for name, value in model.named_buffers()}
        if last is best:
            self._kept = {name: array.copy() for name, array in arrays.items()}
            return
        if last["epoch"] - best["epoch"] >= self.patience:
            history.stop(f"epoch {best['epoch']} is the best of {last['epoch']}")
        if history.stopped or last["epoch"] == history.planned:
            for name, array in self._kept.items():
                arrays[name][...] = array

    def __repr__(self) -> str:
        return f"EarlyStopping({self.patience})"


def as_list(callbacks: Callback | Iterable[Callback], patience: int | None) -> list[Callback]:
    """Return the callbacks of a `fit`, one or several, and early stopping if `patience` is given."""
    several = [callbacks] if callable(callbacks) else [*callbacks]
    for callback in several:
        function(callback, "every callback", "fit", "pass a function of (model, history)")
    return several if patience is None else [*several, EarlyStopping(patience)]
