"""Streams and events: what has happened before what, and what only seems to.

Work of one stream happens in the order of the program. Between two streams there is no order but what an event
(`stream.wait_event(other.record())`) or the host's waiting makes. On the simulated device all work is done at once;
what is kept is which order a GPU would owe the program: a vector clock a stream (Lamport, CACM 21(7), 1978; Mattern,
1989), which says of every other stream how much of its work is done before the next piece of this one begins.

The null stream is CUDA's legacy default stream: it waits for every other stream, and every other for it, but for those
made with ``non_blocking=True``.
"""

import threading
import weakref
from itertools import count
from typing import Any, ClassVar, TypeAlias

import numpy as np

from xpcnn.simulated import judge
from xpcnn.simulated.events import WHY, emit, forbid
from xpcnn.simulated.guard import Host

Clock: TypeAlias = dict[int, int]
"""By a stream's number, how many of its pieces of work are known to be done."""

_clocks: dict[int, Clock] = {0: {}}
_blocking: set[int] = set()
_host: Clock = {}
_numbers = count(1)
_current = threading.local()
_pending: list[tuple[int, int, "weakref.ref[Host]", Host]] = []


class Event:
    """A mark in a stream: whoever waits for it waits for all that the stream was given before."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self._clock: Clock = {}

    def record(self, stream: "Stream | None" = None) -> None:
        """Put the mark here, into the current stream if no other is named."""
        self._clock = dict(_clocks[(stream or current_stream()).number])

    def synchronize(self) -> None:
        """Let the host wait for the mark."""
        emit("synchronisation", "event.synchronize()")
        host_waits_for(self._clock)

    @property
    def done(self) -> bool:
        """Whether the stream has come so far; here it always has, and whoever asked knows it."""
        forbid("event.done", WHY["synchronisation"])
        host_waits_for(self._clock)
        return True


class Stream:
    """A queue of work; ``with stream:`` puts into it what the block launches, uploads and downloads."""

    null: ClassVar["Stream"]

    def __init__(
        self,
        null: bool = False,
        non_blocking: bool = False,
        ptds: bool = False,
        priority: int | None = None,
    ) -> None:
        if ptds:
            raise AttributeError("cupy.cuda.Stream(ptds=True) exists, but the simulated device lacks it")
        self.number = 0 if null else next(_numbers)
        self.is_non_blocking, self.priority = non_blocking, priority
        self.ptr = self.number  # 0 is the null stream's handle
        if not null:
            _clocks[self.number] = {}
            if not non_blocking:
                _blocking.add(self.number)

    def use(self) -> "Stream":
        """Make this the current stream of this thread."""
        _stack()[-1] = self
        return self

    def __enter__(self) -> "Stream":
        _stack().append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _stack().pop()

    def record(self, event: Event | None = None) -> Event:
        """Return an event that marks this moment."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let later work of this stream wait for the mark; the host does not."""
        _join(_clocks[self.number], event._clock)

    def synchronize(self) -> None:
        """Let the host wait for all work of this stream, and be counted."""
        emit("synchronisation", "synchronize()")
        host_waits_for(moment(self))

    @property
    def done(self) -> bool:
        """Whether all work is done; here it always is, and whoever asked knows it."""
        forbid("stream.done", WHY["synchronisation"])
        host_waits_for(moment(self))
        return True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        judge.real(f"cuda.Stream.{name}")
        capture = "; xpcnn.simulated.capturing tells what a capture would refuse" if "capt" in name else ""
        raise AttributeError(f"cupy.cuda.Stream.{name} exists, but the simulated device lacks it{capture}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.number == self.number

    def __hash__(self) -> int:
        return hash(self.number)

    def __repr__(self) -> str:
        return f"<{name_of(self.number)} of the simulated device>"


Stream.null = Stream(null=True)


def name_of(number: int) -> str:
    """Return what messages call a stream."""
    return f"stream {number}" if number else "the null stream"


def current_stream(device_id: int = -1) -> Stream:
    """Return the stream that this thread's work goes to."""
    return _stack()[-1]


def moment(stream: Stream) -> Clock:
    """Return the clock of a stream, with what the null stream's rule adds."""
    clock = _clocks[stream.number]
    _join(clock, _host)  # nothing is launched before the host has waited for what it has waited for
    for other in _blocking if stream.number == 0 else (0,) if stream.number in _blocking else ():
        _join(clock, _clocks[other])
    return clock


def next_work(stream: Stream) -> Clock:
    """Put one more piece of work into a stream; return the clock, of which the piece itself is a part."""
    clock = moment(stream)
    clock[stream.number] = clock.get(stream.number, 0) + 1
    return clock


def host_waits_for(clock: Clock) -> None:
    """Note that the host knows all this to be done, and deliver the downloads that were under way."""
    _join(_host, clock)
    for item in tuple(_pending):
        number, tick, target, values = item
        if _host.get(number, 0) >= tick:
            _pending.remove(item)
            if (host := target()) is not None:
                host[...] = values


def host_waits_for_all() -> None:
    """``deviceSynchronize``."""
    emit("synchronisation", "synchronize()")
    for clock in tuple(_clocks.values()):
        host_waits_for(clock)


def deliver_later(stream: Stream, target: Host, values: Host) -> None:
    """Fill a host array when the host has waited for all that the stream was given so far."""
    _pending.append(
        (stream.number, _clocks[stream.number].get(stream.number, 0), weakref.ref(target), values)
    )


def is_pending(host: Host) -> bool:
    """Whether a download into this host array is still under way."""
    if not _pending:
        return False
    targets = [target() for _, _, target, _ in _pending]
    return any(target is not None and np.may_share_memory(target, host) for target in targets)


def _join(clock: Clock, other: Clock) -> None:
    for number, tick in other.items():
        if clock.get(number, 0) < tick:
            clock[number] = tick


def _stack() -> list[Stream]:
    if not hasattr(_current, "stack"):
        _current.stack = [Stream.null]
    stack: list[Stream] = _current.stack
    return stack
