"""Every piece of work on the device: who reads and writes what, in which stream, with which of Python's numbers.

Two uses of the same bytes of which one writes must be ordered: by their stream, by an event, or by the host's waiting.
Without that a GPU gives either result, today's or tomorrow's; here it is a `RaceError`.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from xpcnn.errors import BackendError
from xpcnn.simulated import memory, streams
from xpcnn.simulated.call_site import call_frame, shown
from xpcnn.simulated.events import captured, emit, forbid, weigh
from xpcnn.simulated.guard import Host, OnDevice
from xpcnn.simulated.history import HISTORY, Place
from xpcnn.simulated.streams import Clock, Stream, name_of

LEGACY = (
    "it goes to the legacy default stream, which cannot be captured; open "
    "`with xp.cuda.Stream(non_blocking=True):` around the block, and wait for the device before"
)
ELSEWHERE = "its stream has no part in the capture; let it wait for an event of the stream that is captured"


class RaceError(BackendError):
    """Two uses of the same memory whose order a GPU does not promise."""


class Part(NamedTuple):
    """The part of an allocation that an array is."""

    allocation: memory.Memory
    span: tuple[Any, ...]
    """First and last address, and how the elements lie between them: shape, strides, bytes of an element."""
    nbytes: int
    contiguous: bool

    @classmethod
    def of(cls, host: Host) -> "Part":
        """Return what an array is a part of, and which."""
        of, contiguous = memory.memory_of(host), host.flags.c_contiguous
        if contiguous:
            first = memory.address(host)
            return cls(of, (first, first + host.nbytes, (host.nbytes,), (1,), 1), host.nbytes, True)
        first, last = np.lib.array_utils.byte_bounds(host)
        return cls(of, (first, last, host.shape, host.strides, host.itemsize), host.nbytes, False)

    @property
    def place(self) -> Place:
        """Where it begins."""
        return Place(self.allocation.serial, self.span[0] - self.allocation.address, self.allocation.given)


class Use(NamedTuple):
    """A use of memory that may still be running."""

    tick: int
    call: str
    site: tuple[str, int]


def launched(
    call: str,
    reads: Iterable[OnDevice] = (),
    writes: Iterable[OnDevice] = (),
    numbers: Iterable[Any] = (),
) -> None:
    """Count a launch and enter what it uses."""
    emit("launch", call)
    enter(call, reads, writes, numbers)


def enter(
    call: str,
    reads: Iterable[OnDevice] = (),
    writes: Iterable[OnDevice] = (),
    numbers: Iterable[Any] = (),
) -> None:
    """Enter the arrays that a launch in the current stream reads and writes, and the numbers it is given.

    Raises
    ------
    RaceError
        If another stream may be using one of them still.
    CaptureError
        Inside `capturing`, for a launch into the null stream, or one that takes no part in the capture.
    """
    stream, site = streams.current_stream(), call_frame()
    read, written = [Part.of(a._host) for a in reads], [Part.of(a._host) for a in writes]
    clock = _use(call, read, written, stream, site)
    weigh("launch", sum({part.span: part.nbytes for part in (*read, *written)}.values()))
    HISTORY.add(call, site, [part.place for part in read], [part.place for part in written], numbers)
    capture = captured()
    if capture is not None and capture.stream:  # a capture of the null stream was reported as such
        if stream.number == 0:
            forbid(call, LEGACY)
        elif clock.get(capture.stream, 0) < capture.tick:
            forbid(call, ELSEWHERE)


def copied(call: str, reads: list[Host], writes: list[Host], stream: Stream) -> Clock:
    """Enter a copy between host and device in a stream, and return its clock."""
    HISTORY.copy_between()
    read, written = list(map(Part.of, reads)), list(map(Part.of, writes))
    return _use(call, read, written, stream, call_frame())


def _use(call: str, reads: list[Part], writes: list[Part], stream: Stream, site: tuple[str, int]) -> Clock:
    """Let a stream read and write parts of memory, in order after all other uses of them; return its clock."""
    clock = streams.next_work(stream)
    of_this = Use(clock[stream.number], call, site)
    for parts, writing in ((reads, False), (writes, True)):
        for part in parts:
            uses, streams_of = part.allocation.uses, part.allocation.streams
            streams_of.add(stream.number)  # with one stream there is nothing to compare, however many views
            for (number, wrote, *theirs), other in uses.items() if streams_of != {stream.number} else ():
                ordered = number == stream.number or clock.get(number, 0) >= other.tick
                if (wrote or writing) and not ordered and _overlap(part.span, tuple(theirs)):
                    raise RaceError(_both(of_this, writing, stream.number, other, wrote, number))
            if writing and len(uses) > 1 and part.contiguous:
                # whoever comes later has to be ordered after this write only
                for done in [k for k in uses if part.span[0] <= k[2] and k[3] <= part.span[1]]:
                    del uses[done]
            uses[(stream.number, writing, *part.span)] = of_this
    return clock


def allocated(call: str, host: Host, given: bool = False) -> Host:
    """Enter new memory, `given` by the host or made on the device, and return it.

    Raises
    ------
    OutOfMemoryError
        If it does not fit.
    """
    emit("allocation", call)
    return memory.allocate(host, call, given)


def refuse_pending(host: Host, call: str) -> None:
    """Raise a RaceError for values of the host's that a download is still to bring."""
    if streams.is_pending(host):
        raise RaceError(
            f"{call} at {shown(call_frame())} reads a host array that a download with blocking=False has not filled; "
            "wait for its stream first: stream.synchronize()"
        )


def _overlap(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Whether two arrays have a byte in common; if that is too hard to tell, whether they could have."""
    if a[0] >= b[1] or b[0] >= a[1]:
        return False
    try:
        return np.shares_memory(_view(*a), _view(*b), max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _view(first: int, last: int, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> Host:
    """Return an array of so many bytes at an address, to be asked where it lies and nothing else."""
    below = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True) if stride < 0)
    interface = {"data": (first - below, True), "shape": shape, "strides": strides, "version": 3,
                 "typestr": f"|V{itemsize}"}  # fmt: skip
    return np.asarray(type("Bytes", (), {"__array_interface__": interface})())


def _both(now: Use, writing: bool, number: int, other: Use, wrote: bool, their: int) -> str:
    verbs = {True: "writes", False: "reads"}
    return (
        f"{now.call} at {shown(now.site)} {verbs[writing]}, in {name_of(number)}, an array that {other.call} at "
        f"{shown(other.site)} {verbs[wrote]} in {name_of(their)}, and nothing orders the two; let the stream wait, "
        "stream.wait_event(other.record()), or the host, other.synchronize()"
    )
