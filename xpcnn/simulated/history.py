"""The last launches, as a CUDA graph would record them: a capture compares its own with them."""

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from xpcnn.simulated import memory

MOST = 1 << 14
"""The number of launches that are kept; a step of ResNet-110 has half as many."""


COPIES = 4
"""A launch before so many copies between host and device is dropped: a step that can be captured copies nothing."""


class Place(NamedTuple):
    """Where an array begins: its allocation, the offset in bytes, and whether the host gave it."""

    serial: int
    offset: int
    given: bool  # by the host: a step that can be captured has not made it


class Launch(NamedTuple):
    """A launch: its number, the call, its line, and its arguments."""

    number: int
    call: str
    site: tuple[str, int]
    reads: tuple[Place, ...]
    writes: tuple[Place, ...]
    numbers: tuple[Any, ...]
    newest: int  # the newest allocation when it ended


launches: deque[Launch] = deque([Launch(0, "", ("", 0), (), (), (), 0)], maxlen=MOST)
"""In their order; the first is a mark of the beginning."""

_copies: deque[int] = deque([0], maxlen=COPIES + 1)
"""The numbers of the launches that followed the last copies."""


def add(
    call: str, site: tuple[str, int], reads: list[Place], writes: list[Place], numbers: Iterable[Any]
) -> None:
    """Enter a launch."""
    given = tuple(reads), tuple(writes), tuple(numbers)
    launches.append(Launch(next_number(), call, site, *given, memory.newest()))


def next_number() -> int:
    """Return the number that the next launch will have."""
    return launches[-1].number + 1


def add_copy() -> None:
    """Enter a copy between host and device; drop the launches before the last `COPIES` copies, except for a mark."""
    if _copies[-1] != next_number():
        _copies.append(next_number())
        while len(launches) > 1 and launches[1].number < _copies[0]:
            launches.popleft()


def since(number: int) -> list[Launch]:
    """Return the launches from this number on."""
    return [launch for launch in launches if launch.number >= number]


def last_run_of(recorded: list[Launch]) -> tuple[list[Launch], int] | None:
    """Return the last earlier run of the same calls from the same lines, and the newest allocation before it."""
    if not recorded:
        return None
    kinds = [(launch.call, launch.site) for launch in recorded]
    earlier = [launch for launch in launches if launch.number < recorded[0].number]
    known = [(launch.call, launch.site) for launch in earlier]
    for first in range(len(known) - len(kinds), 0, -1):
        if known[first] == kinds[0] and known[first : first + len(kinds)] == kinds:
            return earlier[first : first + len(kinds)], earlier[first - 1].newest
    return None
