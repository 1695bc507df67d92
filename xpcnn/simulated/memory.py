"""The memory of the device: how much of it arrays hold, who uses each piece of it, and when it is given back.

Every allocation has a `Memory`, found from any view of it. A number that counts up tells allocations apart, also
where an address is used again. In `device_memory(limit)` an array too many is an error, as on a GPU that is full.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np

from xpcnn.errors import BackendError
from xpcnn.simulated.events import weigh
from xpcnn.simulated.guard import Host

SIZE = 16 << 30
"""Bytes that the device has: those of a small GPU."""


class OutOfMemoryError(BackendError, MemoryError):
    """An allocation that does not fit into the device's memory; CuPy's error of that name is a MemoryError too."""


class Memory:
    """One allocation: its number, address and bytes, whether the host gave its values, and uses that may be running.

    `uses`, and the numbers of the streams that made them, are kept by `launches`.
    """

    __slots__ = ("__weakref__", "address", "given", "nbytes", "serial", "streams", "uses")

    def __init__(self, serial: int, whole: Host, given: bool) -> None:
        self.serial, self.address, self.nbytes, self.given = serial, address(whole), whole.nbytes, given
        self.uses: dict[Any, Any] = {}
        self.streams: set[int] = set()


class Usage:
    """What arrays made since the block began hold, in bytes: now, and at most."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held, self.peak = limit, 0, 0


_known: dict[int, tuple["weakref.ref[Host]", Memory]] = {}
_numbers = count(1)
_newest = 0
_alive: set[int] = set()
_usages = [Usage(SIZE)]


def newest() -> int:
    """Return the number of the newest allocation."""
    return _newest


def is_alive(serial: int) -> bool:
    """Whether an allocation is still held by an array."""
    return serial in _alive


def memory_of(host: Host, given: bool = True) -> Memory:
    """Return the allocation that an array is a view of; memory that was not seen before counts as allocated now."""
    global _newest
    whole = owner(host)
    known = _known.get(id(whole))
    if known is not None:
        return known[1]
    _newest = next(_numbers)
    memory, usages = Memory(_newest, whole, given), list(_usages)
    key = id(whole)

    def released(_: Any) -> None:
        _known.pop(key, None)
        _alive.discard(memory.serial)
        for usage in usages:
            usage.held -= memory.nbytes

    _known[key] = weakref.ref(whole, released), memory
    _alive.add(memory.serial)
    for usage in usages:
        usage.held += memory.nbytes
        usage.peak = max(usage.peak, usage.held)
    return memory


def allocate(host: Host, call: str, given: bool) -> Host:
    """Enter new memory, before anything is written to it.

    Raises
    ------
    OutOfMemoryError
        If it does not fit.
    """
    nbytes = owner(host).nbytes
    for usage in _usages:
        if usage.held + nbytes > usage.limit:
            raise OutOfMemoryError(
                f"{call}: out of memory allocating {nbytes:,} bytes: arrays hold {usage.held:,} of {usage.limit:,}; "
                "use a smaller batch or workspace, or release arrays first"
            )
    memory_of(host, given)
    weigh("allocation", nbytes)
    return host


@contextmanager
def device_memory(limit: int = SIZE) -> Iterator[Usage]:
    """Inside the ``with`` block new arrays may hold `limit` bytes at a time; what was there before does not count.

    Yields
    ------
    Usage
        ``held`` and ``peak``, in bytes.

    Raises
    ------
    OutOfMemoryError
        At the allocation that does not fit.

    Examples
    --------
    >>> from xpcnn.simulated import ndarray
    >>> x = ndarray(np.ones(250, np.float32))
    >>> with device_memory(limit=3000) as memory:
    ...     y = x * 2 + 1  # x * 2 is given back when the sum is there
    >>> memory.held, memory.peak
    (1000, 2000)
    >>> with device_memory(limit=1500):
    ...     y = x * 2 + 1
    Traceback (most recent call last):
    xpcnn.simulated.memory.OutOfMemoryError: add: out of memory allocating 1,000 bytes: arrays hold 1,000 of 1,500; ...
    """
    usage = Usage(limit)
    _usages.append(usage)
    try:
        yield usage
    finally:
        _usages.remove(usage)


def poison(host: Host) -> Host:
    """Fill memory with what no program can mistake for a result: NaN, or every bit set."""
    if host.dtype == bool:
        host.fill(True)
    else:
        host.fill(np.full(1, -1, f"i{host.itemsize}").view(host.dtype)[0] if host.itemsize <= 8 else np.nan)
    return host


def owner(host: Host) -> Host:
    """Return the array that owns the memory; views by stride tricks have an object of another kind between."""
    found, base = host, host.base
    while base is not None:
        if isinstance(base, np.ndarray):
            found = base
        base = getattr(base, "base", None)
    return found


def address(host: Host) -> int:
    """Return the address of an array's first element."""
    first: int = host.__array_interface__["data"][0]
    return first
