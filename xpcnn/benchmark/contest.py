"""Contenders in turn: K steps of one, K of the other, round after round, and their ratio in each round.

A machine is faster at one minute than at the next, for all contenders alike; the ratio within a round does not mind.
The order turns round from one round to the next, so that nobody always comes first.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from xpcnn.errors import BenchmarkError

PAUSE = 0.05
"""Seconds between two turns: the threads of a BLAS wait in a busy loop for about as long, on cores of the next."""

IDLE = 1
"""Steps at the beginning of a turn that do not count: the caches hold what the one before needed."""

TOLERANCE = 1e-4
"""How far the losses of two contenders may be apart, relatively."""

Answers = list[Any]


class Asked(Protocol):
    """What answers: `processes.Worker`, or a test's stand-in."""

    def ask(self, do: str, **arguments: Any) -> Any:
        """Do something, and return the answer."""
        ...


class Entrant(NamedTuple):
    """A training in a worker, and how many steps of it make a turn."""

    worker: Asked
    number: int
    steps: int


class Ratio(NamedTuple):
    """The median over rounds of one contender's time by another's, and the lowest and highest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def in_turn(
    entrants: Mapping[str, Entrant],
    rounds: int,
    do: str = "steps",
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Answers]:
    """Ask everybody to `do` its steps, `rounds` times; return each one's answers, a round each."""
    answers: dict[str, Answers] = {name: [] for name in entrants}
    order = list(entrants)
    for _ in range(rounds):
        for name in order:
            sleep(PAUSE)
            worker, number, steps = entrants[name]
            answers[name].append(worker.ask(do, number=number, count=steps, idle=IDLE))
        order.reverse()
    return answers


def round_medians(answers: Answers) -> np.ndarray:
    """Return the median step of each round, in seconds: rounds of steps of phases -> (rounds,).

    >>> round_medians([[[1.0, 1.0], [2.0, 2.0], [9.0, 9.0]], [[3.0, 0.0]]]).tolist()
    [4.0, 3.0]
    """
    return np.array([np.median(np.sum(steps, axis=1)) for steps in answers])


def ratio(ours: np.ndarray, theirs: np.ndarray) -> Ratio:
    """Compare two contenders, by their medians of each round.

    >>> print(ratio(np.array([1.0, 2.0, 2.2]), np.array([2.0, 4.0, 4.0])))
    0.50 (0.50 to 0.55)
    """
    each = ours / theirs
    return Ratio(float(np.median(each)), float(each.min()), float(each.max()))


def losses_apart(losses: Mapping[str, list[float]]) -> float:
    """Return the largest relative difference of any contender's loss from the first contender's."""
    first, *others = (np.array(values) for values in losses.values())
    return max(float(np.max(np.abs(other - first) / np.abs(first))) for other in others)


def check_losses(losses: Mapping[str, list[float]]) -> None:
    """Raise BenchmarkError if the losses of contenders are apart by more than TOLERANCE, or are no numbers."""
    apart = losses_apart(losses)
    if not apart <= TOLERANCE:
        told = "; ".join(f"{name}: {' '.join(f'{x:.6f}' for x in values)}" for name, values in losses.items())
        raise BenchmarkError(
            f"the first losses differ by {apart:.1e}, and {TOLERANCE:g} is allowed ({told}); these are not the same "
            "network, so nothing was timed"
        )


def agreement(losses: Mapping[str, list[float]]) -> str:
    """Say how well the losses agree.

    >>> agreement({"here": [2.0, 1.0], "there": [2.0, 1.0]})
    'their first 2 losses, dropout off, agree to the bit'
    """
    apart, count = losses_apart(losses), len(next(iter(losses.values())))
    text = f"to {apart:.0e}" if apart else "to the bit"
    return f"their first {count} losses, dropout off, agree {text}"
