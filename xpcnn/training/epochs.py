"""The iterator that `train` returns: it reports that nothing is trained where nobody iterates over it."""

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from xpcnn.errors import DtypeError, XpcnnWarning

Function = TypeVar("Function", bound=Callable[..., Any])

HOW = "write `for epoch, loss in train(...): print(epoch, loss)`, or call xpcnn.fit"


class Epochs:
    """(epoch, mean loss) after each epoch. Each epoch is trained when it is asked for, and not before."""

    def __init__(self, generator: Iterator[tuple[int, float]]) -> None:
        self._generator, self._used = generator, False

    def __iter__(self) -> "Epochs":
        return self

    def __next__(self) -> tuple[int, float]:
        self._used = True
        return next(self._generator)

    def close(self) -> None:
        """End the training here, as a generator's close() does."""
        self._used = True
        self._generator.close()  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return (
            "<train: its epochs are under way>" if self._used else f"<train: nothing is trained yet; {HOW}>"
        )

    def __del__(self) -> None:
        if not self._used:
            warnings.warn(
                XpcnnWarning(f"train: nothing was trained, since nobody asked for an epoch; {HOW}"),
                stacklevel=2,
            )


def trained_by_a_loop(function: Function) -> Function:
    """Let a generator function return `Epochs`; names in place of objects are refused at the call."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Epochs:
        for value in args[1:3]:
            if isinstance(value, str):
                raise DtypeError(
                    f"train: expected a loss and an optimizer, got the name {value!r}; pass objects: train(model, "
                    "SoftmaxCrossEntropy(), Adam(model.parameters()), dataset, epochs=10, batch_size=100)"
                )
        return Epochs(function(*args, **options))

    return call  # type: ignore[return-value]
