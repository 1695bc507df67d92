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
from xpcnn.simulated.history import HISTORY
from xpcnn.simulated.streams import Clock, Stream, name_of

LEGACY = (
    "it goes to the legacy default stream, which cannot be captured; open "
    "`with xp.cuda.Stream(non_blocking=True):` around the block, and wait for the device before"
)
ELSEWHERE = "its stream has no part in the capture; let it wait for an event of the stream that is captured"


class RaceError(BackendError):
    """Two uses of the same memory whose order a GPU does not promise."""


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
    read, written = [a._host for a in reads], [a._host for a in writes]
    clock = _use(call, read, written, stream, site)
    weigh("launch", sum({id(host): host.nbytes for host in (*read, *written)}.values()))
    HISTORY.add(call, site, read, written, tuple(numbers))
    if (
        capture := captured()
    ) is not None and capture.stream:  # if it is the null stream itself, that was reported
        if stream.number == 0:
            forbid(call, LEGACY)
        elif clock.get(capture.stream, 0) < capture.tick:
            forbid(call, ELSEWHERE)


def copied(call: str, reads: list[Host], writes: list[Host], stream: Stream) -> Clock:
    """Enter a copy between host and device in a stream, and return its clock."""
    HISTORY.copy_between()
    return _use(call, reads, writes, stream, call_frame())


def _use(call: str, reads: list[Host], writes: list[Host], stream: Stream, site: tuple[str, int]) -> Clock:
    """Let a stream read and write host values of arrays, in order after all other uses of them; return its clock."""
    clock = streams.next_work(stream)
    of_this = Use(clock[stream.number], call, site)
    for hosts, writing in ((reads, False), (writes, True)):
        for host in hosts:
            uses, key = memory.memory_of(host).uses, _bytes(host)
            for (number, wrote, *theirs), other in uses.items():
                ordered = number == stream.number or clock.get(number, 0) >= other.tick
                if (wrote or writing) and not ordered and _overlap(key, tuple(theirs)):
                    raise RaceError(_both(of_this, writing, stream.number, other, wrote, number))
            if writing and host.flags.c_contiguous:  # later uses need be ordered after this one only
                for done in [k for k in uses if key[0] <= k[2] and k[3] <= key[1]]:
                    del uses[done]
            uses[(stream.number, writing, *key)] = of_this
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


def _bytes(host: Host) -> tuple[Any, ...]:
    """Return the first and the last address of an array, and how its elements lie between them."""
    first = memory.address(host)
    if host.flags.c_contiguous:
        return first, first + host.nbytes, (host.nbytes,), (1,), 1
    first, last = np.lib.array_utils.byte_bounds(host)
    return first, last, host.shape, host.strides, host.itemsize


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
