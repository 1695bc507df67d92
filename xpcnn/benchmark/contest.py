"""Contenders take turns: some steps of one, some of the other, round after round, until the rounds agree.

A machine is faster in one minute than in the next, for all contenders alike; the ratio within a round is not affected.
The order is reversed from one round to the next, so that nobody always comes first.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from xpcnn.benchmark.machine import load
from xpcnn.benchmark.workload import Workload
from xpcnn.errors import BenchmarkError

PAUSE = 0.05
"""Seconds between two turns: the threads of a BLAS wait in a busy loop for about as long, on the next one's cores."""

IDLE = 1
"""Steps at the beginning of a turn that do not count: the caches hold what the one before needed."""

TURN, MOST_STEPS, LEAST_WARM_UP = 0.25, 50, 3
"""Seconds of a turn, unless its steps are given; its most steps; and the fewest before all turns."""

CHECKED, TOLERANCE = 3, 1e-4
"""Losses that are compared before anything is timed, and the relative difference that is allowed."""

BOUND, ATTEMPTS = 0.15, 3
"""The spread that is trusted, and how often at most one thing is measured."""

Json = dict[str, Any]
Answers = list[Any]
T = TypeVar("T")


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


@dataclass(frozen=True)
class Effort:
    """How much is measured: rounds, steps in each, steps before; and the spread that is trusted.

    Where a number of steps is None, as many as take TURN seconds are taken.
    """

    rounds: int = 7
    steps: int | None = None
    warm_up: int | None = None
    bound: float = BOUND
    warn: Callable[[str], None] = lambda text: None
    load_before: float | None = field(default_factory=load)

    def counted(self, seconds: float) -> "Effort":
        """Return the effort for a step of so many seconds: its numbers are all known."""
        fitting = min(max(round(TURN / seconds), 1), MOST_STEPS)
        steps = fitting if self.steps is None else self.steps
        warm_up = max(fitting, LEAST_WARM_UP) if self.warm_up is None else self.warm_up
        return replace(self, steps=steps, warm_up=warm_up)

    def record(self) -> Json:
        """Return the numbers, for JSON."""
        return {name: getattr(self, name) for name in ("rounds", "steps", "warm_up", "load_before")}

    def __str__(self) -> str:
        return f"{self.rounds} rounds of {self.steps} step{'s' * (self.steps != 1)}, after {self.warm_up} to warm up"


class Quietest(NamedTuple, Generic[T]):
    """The measurement that spread least, and how often it took."""

    value: T
    spread: float
    bound: float
    attempts: int

    @property
    def trusted(self) -> bool:
        """Tell whether the spread stays within the bound."""
        return self.spread <= self.bound

    def __str__(self) -> str:
        times = {1: "once", 2: "twice"}.get(self.attempts, f"{self.attempts} times")
        if self.trusted:
            again = f"; measured {times}" if self.attempts > 1 else ""
            return f"the rounds spread by {self.spread:.0%} (up to {self.bound:.0%} is trusted{again})"
        return (
            f"NOT TO BE TRUSTED: measured {times}, and even in the quietest the rounds spread by {self.spread:.0%}; up "
            f"to\n{self.bound:.0%} is trusted. Something else uses this machine, or it changes its speed."
        )

    def record(self) -> Json:
        """Return all but the measurement, for JSON."""
        names = ("spread", "bound", "attempts", "trusted")
        return {name: getattr(self, name) for name in names}


def quietest(
    measure: Callable[[], T],
    spread: Callable[[T], float],
    bound: float = BOUND,
    warn: Callable[[str], None] = lambda text: None,
) -> Quietest[T]:
    """Measure, and again while the spread is above the bound, ATTEMPTS times at most; return the quietest."""
    best: Quietest[T] | None = None
    for attempt in range(1, ATTEMPTS + 1):
        value = measure()
        found = spread(value)
        best = Quietest(value, found, bound, attempt) if best is None or found < best.spread else best
        best = best._replace(attempts=attempt)
        if best.trusted:
            break
        if attempt < ATTEMPTS:
            warn(
                f"the rounds spread by {found:.0%}, more than {bound:.0%}: the machine is noisy, measuring again"
            )
    assert best is not None
    return best


def enter(
    workers: Mapping[str, Asked], work: Workload, effort: Effort, options: Mapping[str, Json] | None = None
) -> tuple[dict[str, Entrant], dict[str, Json], Effort]:
    """Open a training in every worker, and warm it up; return them, each worker's report, and the steps of a turn."""
    opened = {
        name: worker.ask("open", workload=asdict(work), **(options or {}).get(name, {}))
        for name, worker in workers.items()
    }
    effort = effort.counted(max(report["seconds"] for report in opened.values()))
    entrants = {
        name: Entrant(worker, opened[name]["number"], effort.steps or 1) for name, worker in workers.items()
    }
    for worker, number, _ in entrants.values():
        worker.ask("steps", number=number, count=0, idle=effort.warm_up)
    return entrants, opened, effort


def in_turn(
    entrants: Mapping[str, Entrant],
    rounds: int,
    do: str = "steps",
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Answers]:
    """Ask everybody to `do` its steps, `rounds` times; return each one's answers, one for each round."""
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


def same_losses(
    workers: Mapping[str, Asked], work: Workload, options: Mapping[str, Json] | None = None
) -> tuple[dict[str, list[float]], str]:
    """Compute the first losses in every worker; return them, and a sentence on how well they agree.

    Raises
    ------
    BenchmarkError
        If they differ by more than TOLERANCE, or are not finite.
    """
    losses = {
        name: worker.ask("losses", workload=asdict(work), count=CHECKED, **(options or {}).get(name, {}))
        for name, worker in workers.items()
    }
    first, *others = (np.array(values) for values in losses.values())
    difference = max(float(np.max(np.abs(other - first) / np.abs(first))) for other in others)
    if not difference <= TOLERANCE:
        found = "; ".join(
            f"{name}: {' '.join(f'{x:.6f}' for x in values)}" for name, values in losses.items()
        )
        raise BenchmarkError(
            f"the first losses differ by {difference:.1e}, and {TOLERANCE:g} is allowed ({found}); these are not the "
            "same network, so nothing was timed"
        )
    how = f"to {difference:.0e}" if difference else "to the bit"
    return losses, f"their first {CHECKED} losses, dropout off, agree {how}"
