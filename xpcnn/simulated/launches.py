"""Every piece of work on the device: which arrays it reads and writes, in which stream, with which of Python's numbers.

Two uses of the same bytes, one of them a write, must be ordered: by their stream, by an event, or by the waiting host.
Without that the result on a GPU changes from run to run; here it is a `RaceError`.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from xpcnn.errors import BackendError
from xpcnn.simulated import history, memory, streams
from xpcnn.simulated.call_site import call_frame, shown
from xpcnn.simulated.events import captured, emit, forbid, weigh
from xpcnn.simulated.guard import Host, OnDevice
from xpcnn.simulated.history import Place
from xpcnn.simulated.streams import Clock, Stream, name_of

LEGACY = (
    "it goes to the legacy default stream, which cannot be captured; open "
    "`with xp.cuda.Stream(non_blocking=True):` around the block, and wait for the device before"
)
ELSEWHERE = (
    "its stream does not belong to the capture; let it wait for an event of the stream that is captured"
)


class RaceError(BackendError):
    """Two uses of the same memory whose order a GPU does not promise."""


class Extent(NamedTuple):
    """The bytes of an allocation that an array covers."""

    allocation: memory.Memory
    span: tuple[Any, ...]  # first and last address, shape, strides, bytes of an element
    nbytes: int
    contiguous: bool

    @classmethod
    def of(cls, host: Host) -> "Extent":
        """Return the extent of an array."""
        whole, contiguous = memory.memory_of(host), host.flags.c_contiguous
        if contiguous:
            first = memory.address(host)
            return cls(whole, (first, first + host.nbytes, (host.nbytes,), (1,), 1), host.nbytes, True)
        first, last = np.lib.array_utils.byte_bounds(host)
        return cls(whole, (first, last, host.shape, host.strides, host.itemsize), host.nbytes, False)

    @property
    def place(self) -> Place:
        """Where the array begins."""
        return Place(self.allocation.serial, self.span[0] - self.allocation.address, self.allocation.given)


class Use(NamedTuple):
    """A use of memory that may still be running."""

    tick: int
    call: str
    site: tuple[str, int]


def launched(
    call: str, reads: Iterable[OnDevice], writes: Iterable[OnDevice], numbers: Iterable[Any] = ()
) -> None:
    """Count a launch in the current stream, and enter the arrays that it reads and writes and its numbers.

    A RaceError if another stream may still be using one of them; a CaptureError inside `capturing`, for a launch into
    the null stream or into one that does not belong to the capture.
    """
    emit("launch", call)
    stream, site = streams.current_stream(), call_frame()
    read, written = ([Extent.of(array._host) for array in arrays] for arrays in (reads, writes))
    clock = _use(call, read, written, stream, site)
    weigh("launch", sum({extent.span: extent.nbytes for extent in (*read, *written)}.values()))
    history.add(call, site, [extent.place for extent in read], [extent.place for extent in written], numbers)
    capture = captured()
    if capture is not None and capture.stream:  # a capture of the null stream was reported as such
        if stream.number == 0:
            forbid(call, LEGACY)
        elif clock.get(capture.stream, 0) < capture.tick:
            forbid(call, ELSEWHERE)


def copied(call: str, reads: list[Host], writes: list[Host], stream: Stream) -> Clock:
    """Enter a copy between host and device in a stream, and return its clock."""
    history.add_copy()
    return _use(call, list(map(Extent.of, reads)), list(map(Extent.of, writes)), stream, call_frame())


def _use(
    call: str, reads: list[Extent], writes: list[Extent], stream: Stream, site: tuple[str, int]
) -> Clock:
    """Let a stream read and write memory, which must be ordered after all other uses of it; return its clock."""
    clock = streams.next_work(stream)
    of_this = Use(clock[stream.number], call, site)
    for extent, writing in (*((read, False) for read in reads), *((written, True) for written in writes)):
        uses, streams_of = extent.allocation.uses, extent.allocation.streams
        streams_of.add(stream.number)  # with one stream there is nothing to compare, however many views
        for (number, wrote, *theirs), other in uses.items() if streams_of != {stream.number} else ():
            ordered = number == stream.number or clock.get(number, 0) >= other.tick
            if (wrote or writing) and not ordered and _overlap(extent.span, tuple(theirs)):
                raise RaceError(_both(of_this, writing, stream.number, other, wrote, number))
        if writing and len(uses) > 1 and extent.contiguous:
            # a later use has to be ordered after this write only
            for done in [k for k in uses if extent.span[0] <= k[2] and k[3] <= extent.span[1]]:
                del uses[done]
        uses[(stream.number, writing, *extent.span)] = of_this
    return clock


def refuse_pending(host: Host, call: str) -> None:
    """Raise a RaceError for a host array that a download has not filled yet."""
    if streams.is_pending(host):
        raise RaceError(
            f"{call} at {shown(call_frame())} reads a host array that a download with blocking=False has not filled; "
            "wait for its stream first: stream.synchronize()"
        )


def _overlap(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Whether two arrays have a byte in common, or may have, if that is too hard to compute."""
    if a[0] >= b[1] or b[0] >= a[1]:
        return False
    try:
        return np.shares_memory(_view(*a), _view(*b), max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _view(first: int, last: int, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> Host:
    """Return an array at an address; nothing but its position is ever read."""
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
