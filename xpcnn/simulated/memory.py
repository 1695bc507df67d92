"""The memory of the device: how much of it arrays hold, which launches use it, and when it is released.

Every allocation has a `Memory`, found from any view of it, with a serial number of its own even if its address is used
again. In `device_memory(limit)` an array that does not fit is an error, as on a GPU that is full.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from xpcnn.errors import BackendError
from xpcnn.simulated.events import emit, weigh
from xpcnn.simulated.guard import Host

SIZE = 16 << 30
"""The bytes of the device: those of a small GPU."""


class OutOfMemoryError(BackendError, MemoryError):
    """An allocation that does not fit into the device's memory; CuPy's error of that name is a MemoryError too."""


class Memory:
    """One allocation: its serial number, address and bytes, and whether its values came from the host.

    `uses` that may still be running, and the numbers of their streams, are kept by `launches`.
    """

    __slots__ = ("__weakref__", "address", "given", "nbytes", "serial", "streams", "uses")

    def __init__(self, serial: int, whole: Host, given: bool) -> None:
        self.serial, self.address, self.nbytes, self.given = serial, address(whole), whole.nbytes, given
        self.uses: dict[Any, Any] = {}
        self.streams: set[int] = set()


class Usage:
    """The bytes that arrays made since the block began hold: now, and at most."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held, self.peak = limit, 0, 0


_known: dict[int, tuple["weakref.ref[Host]", Memory]] = {}
_newest = 0
_alive: set[int] = set()
_usages = [Usage(SIZE)]


def newest() -> int:
    """Return the serial number of the newest allocation."""
    return _newest


def is_alive(serial: int) -> bool:
    """Whether an allocation is still held by an array."""
    return serial in _alive


def memory_of(host: Host, given: bool = True) -> Memory:
    """Return the allocation that an array is a view of; memory that is not known yet counts as allocated now."""
    global _newest
    whole = owner(host)
    key = id(whole)
    if key in _known:
        return _known[key][1]
    _newest += 1
    memory, usages = Memory(_newest, whole, given), list(_usages)

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


def allocated(call: str, host: Host, given: bool = False) -> Host:
    """Enter new memory, `given` by the host or made on the device; return it, or raise OutOfMemoryError."""
    emit("allocation", call)
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
    """Inside the ``with`` block new arrays may hold `limit` bytes at a time; arrays made before do not count.

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
    ...     y = x * 2 + 1  # x * 2 is released once the sum is made
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
    """Fill memory with what no program mistakes for a result: NaN, or every bit set."""
    if host.dtype == bool:
        host.fill(True)
    else:
        host.fill(np.full(1, -1, f"i{host.itemsize}").view(host.dtype)[0] if host.itemsize <= 8 else np.nan)
    return host


def owner(host: Host) -> Host:
    """Return the array that owns the memory; views by stride tricks have another object between."""
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
