"""Is the machine quiet enough to believe a time? If not, measure again, and say so."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

BOUND, ATTEMPTS = 0.15, 3
"""The spread that is trusted, and how often at most one thing is measured."""


class Quietest(NamedTuple, Generic[T]):
    """The measurement that spread least, and how it came about."""

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

    def record(self) -> dict[str, float | int | bool]:
        """Return all but the measurement, for JSON."""
        return {
            "spread": self.spread,
            "bound": self.bound,
            "attempts": self.attempts,
            "trusted": self.trusted,
        }


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
        if best is None or found < best.spread:
            best = Quietest(value, found, bound, attempt)
        best = best._replace(attempts=attempt)
        if best.trusted:
            break
        if attempt < ATTEMPTS:
            warn(
                f"the rounds spread by {found:.0%}, more than {bound:.0%}: the machine is noisy, measuring again"
            )
    assert best is not None
    return best
