"""Streams and events: which work a GPU promises to do before which other work.

Work of one stream is done in the order of the program. Between two streams only an event
(`stream.wait_event(other.record())`) or the waiting host makes an order. On the simulated device all work is done at
once; what is kept is the order that a GPU would promise: a vector clock a stream (Lamport, CACM 21(7), 1978; Mattern,
1989), which says of every other stream how much of its work is done before the next piece of this one begins.

The null stream is CUDA's legacy default stream: it waits for every other stream, and they for it, except for streams
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
    """A mark in a stream: to wait for it is to wait for all that the stream was given before."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self._clock: Clock = {}

    def record(self, stream: "Stream | None" = None) -> None:
        """Put the mark here, in the current stream if no other is named."""
        self._clock = dict(_clocks[(stream or current_stream()).number])

    def synchronize(self) -> None:
        """Let the host wait for the mark."""
        emit("synchronisation", "event.synchronize()")
        host_waits_for(self._clock)

    @property
    def done(self) -> bool:
        """Whether the stream has reached the mark: always, on this device. The host then knows it."""
        return _is_done("event.done", self._clock)


class Stream:
    """A queue of work; ``with stream:`` puts into it what the block launches, uploads and downloads."""

    null: ClassVar["Stream"]

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None
    ) -> None:
        if ptds:
            raise AttributeError("cupy.cuda.Stream(ptds=True) exists, but the simulated device lacks it")
        self.number = self.ptr = 0 if null else next(_numbers)  # 0 is the null stream's handle
        self.is_non_blocking, self.priority = non_blocking, priority
        _clocks.setdefault(self.number, {})
        if not null and not non_blocking:
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
        host_waits_for(_moment(self))

    @property
    def done(self) -> bool:
        """Whether all work is done: always, on this device. The host then knows it."""
        return _is_done("stream.done", _moment(self))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        capture = "; xpcnn.simulated.capturing shows what a capture would refuse" if "capt" in name else ""
        raise judge.lacks(f"cuda.Stream.{name}", capture)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.number == self.number

    def __hash__(self) -> int:
        return hash(self.number)

    def __repr__(self) -> str:
        return f"<{name_of(self.number)} of the simulated device>"


Stream.null = Stream(null=True)


def name_of(number: int) -> str:
    """Return the name of a stream in messages."""
    return f"stream {number}" if number else "the null stream"


def current_stream(device_id: int = -1) -> Stream:
    """Return the stream that this thread's work goes to."""
    return _stack()[-1]


def next_work(stream: Stream) -> Clock:
    """Put one more piece of work into a stream; return the clock, which counts the piece itself."""
    clock = _moment(stream)
    clock[stream.number] = clock.get(stream.number, 0) + 1
    return clock


def host_waits_for(clock: Clock) -> None:
    """Note that the host knows all this to be done, and deliver the downloads that are done by then."""
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
    """Fill a host array once the host has waited for all that the stream was given so far."""
    tick = _clocks[stream.number].get(stream.number, 0)
    _pending.append((stream.number, tick, weakref.ref(target), values))


def is_pending(host: Host) -> bool:
    """Whether a download into this host array is still under way."""
    targets = [target() for _, _, target, _ in _pending]
    return any(target is not None and np.may_share_memory(target, host) for target in targets)


def _moment(stream: Stream) -> Clock:
    """Return the clock of a stream, after the null stream's rule."""
    clock = _clocks[stream.number]
    _join(clock, _host)  # the host launches nothing before its waits are over
    for other in _blocking if stream.number == 0 else (0,) if stream.number in _blocking else ():
        _join(clock, _clocks[other])
    return clock


def _is_done(call: str, clock: Clock) -> bool:
    forbid(call, WHY["synchronisation"])
    host_waits_for(clock)
    return True


def _join(clock: Clock, other: Clock) -> None:
    for number, tick in other.items():
        clock[number] = max(clock.get(number, 0), tick)


def _stack() -> list[Stream]:
    if not hasattr(_current, "stack"):
        _current.stack = [Stream.null]
    stack: list[Stream] = _current.stack
    return stack
