"""The last launches, as a CUDA graph would record them: with these a capture compares its own."""

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from xpcnn.simulated import memory
from xpcnn.simulated.guard import Host

MOST = 1 << 14
"""Launches that are remembered; a step of ResNet-110 has half of that."""

STRETCHES = 4
"""How many copies between host and device ago a launch is forgotten: a step that can be captured copies nothing."""


class Place(NamedTuple):
    """Where an array begins: its allocation, how many bytes behind the beginning of that, and who made it."""

    serial: int
    offset: int
    given: bool
    """By the host: a step that can be captured has not made it."""


class Launch(NamedTuple):
    """A launch: its number, the call and the line it came from, and what it was given."""

    number: int
    call: str
    site: tuple[str, int]
    reads: tuple[Place, ...]
    writes: tuple[Place, ...]
    numbers: tuple[Any, ...]
    newest: int
    """The newest allocation at the end of it."""


class History:
    """The last launches in their order."""

    def __init__(self) -> None:
        self.launches: deque[Launch] = deque()
        self.next_number = 0
        self._forgotten = 0  # the newest allocation of the last launch that was forgotten
        self._stretches: deque[int] = deque([0], maxlen=STRETCHES + 1)

    def add(
        self,
        call: str,
        site: tuple[str, int],
        reads: Iterable[Place],
        writes: Iterable[Place],
        numbers: Iterable[Any],
    ) -> None:
        """Remember a launch."""
        if len(self.launches) == MOST:
            self._forget()
        self.launches.append(
            Launch(self.next_number, call, site, tuple(reads), tuple(writes), tuple(numbers), memory.newest())
        )
        self.next_number += 1

    def copy_between(self) -> None:
        """Note a copy between host and device; forget what was launched some copies ago."""
        if self._stretches[-1] != self.next_number:
            self._stretches.append(self.next_number)
            while self.launches and self.launches[0].number < self._stretches[0]:
                self._forget()

    def since(self, number: int) -> list[Launch]:
        """Return the launches from this number on."""
        return [launch for launch in self.launches if launch.number >= number]

    def last_run_of(self, recorded: list[Launch]) -> tuple[list[Launch], int] | None:
        """Return the last run of the same calls from the same lines before these launches, or None if there is none.

        With it comes the newest allocation before that run.
        """
        if not recorded:
            return None
        kinds = [(launch.call, launch.site) for launch in recorded]
        earlier = [launch for launch in self.launches if launch.number < recorded[0].number]
        known = [(launch.call, launch.site) for launch in earlier]
        for first in range(len(known) - len(kinds), -1, -1):
            if known[first] == kinds[0] and known[first : first + len(kinds)] == kinds:
                before = earlier[first - 1].newest if first else self._forgotten
                return earlier[first : first + len(kinds)], before
        return None

    def _forget(self) -> None:
        self._forgotten = self.launches.popleft().newest


def place(host: Host) -> Place:
    """Return where an array begins."""
    of = memory.memory_of(host)
    return Place(of.serial, memory.address(host) - of.address, of.given)


HISTORY = History()
"""Of the whole process."""
