"""Subscripts, where CuPy and NumPy differ: copies, waits, and what neither says a word about.

* A boolean mask lets the host wait, since the device alone knows how many elements it picks.
* A list is uploaded, each time.
* An index out of range wraps around in CuPy, silently; here it is an IndexError.
* When an index comes twice in an assignment, any of the values may win; here that is an error.
* `scatter_add` and `add.at` add floating numbers in an order that changes from run to run; here an error too.
* An element is an array without axes, a view, not a number.
"""

from typing import Any

import numpy as np

from xpcnn.errors import BackendError
from xpcnn.simulated.events import MASK, emit
from xpcnn.simulated.guard import Host, OnDevice, to_hosts

WRAPS = "CuPy would wrap it around silently"
ATOMIC = (
    "CuPy adds floating numbers atomically, in an order that changes from run to run, and the last digits with it; "
    "gather what belongs to an element, and sum along an axis"
)


class OrderError(BackendError):
    """A sum of floating numbers whose order a GPU does not promise."""


def checked_key(key: Any, call: str) -> tuple[Any, ...]:
    """Return a subscript with NumPy's arrays in place of the device's, having announced what it costs in CuPy."""
    items = key if isinstance(key, tuple) else (key,)
    for item in items:
        if isinstance(item, list):
            emit("upload", f"{call} with a list as index")
        elif isinstance(item, OnDevice) and item._host.dtype == bool:
            emit("synchronisation", f"{call} with a boolean mask", why=MASK)
    return tuple(to_hosts(item, f"{call}: index") for item in items)


def getitem(host: Host, key: Any) -> Host:
    """Return host[key]: a view for slices and integers, a copy for arrays."""
    key = checked_key(key, "getitem")
    if not _advanced(key):
        return _view(host, key)
    try:
        return np.asarray(host[key])
    except IndexError as error:
        raise IndexError(f"getitem: {error}; {WRAPS}") from None


def setitem(host: Host, key: Any, value: Any) -> Host | None:
    """Do host[key] = value, unless an index comes twice; return what is written, or None if CuPy launches no kernel.

    ``x[key] += 1`` ends in an assignment of the view x[key] to itself, which CuPy leaves out.
    """
    key, value = checked_key(key, "setitem"), to_hosts(value, "setitem: value")
    if isinstance(value, list | tuple):
        raise TypeError(f"setitem: Unsupported type {type(value)}; pass to_device(x)")
    if any(isinstance(item, list | np.ndarray) and np.asarray(item).dtype.kind in "iu" for item in key):
        refuse_repeated(_places(host, key), "setitem")
    written = host if _advanced(key) else _view(host, key)
    if isinstance(value, Host) and written is not host and _same(written, value):
        return None
    try:
        host[key] = value
    except ValueError as error:
        raise ValueError(f"setitem: {error}{READ_ONLY if not host.flags.writeable else ''}") from None
    return written


READ_ONLY = "; it is a view made by stride tricks or broadcasting, where one element stands for many"


def refuse_repeated(places: Host, call: str) -> None:
    """Raise a ValueError if a number comes twice among the places that an assignment writes to."""
    if places.size != np.unique(places).size:
        raise ValueError(
            f"{call}: an index comes twice in the assignment, and on a GPU any of the values may win; "
            "write each element once, or add up in a fixed order: gather what belongs to an element, and sum"
        )


def _places(host: Host, key: tuple[Any, ...]) -> Host:
    try:
        return np.asarray(np.arange(host.size).reshape(host.shape)[key])
    except IndexError as error:
        raise IndexError(f"setitem: {error}; {WRAPS}") from None


def _advanced(key: tuple[Any, ...]) -> bool:
    return any(isinstance(item, list | np.ndarray | bool | np.bool_) for item in key)


def _view(host: Host, key: tuple[Any, ...]) -> Host:
    view: Host = host[
        key if any(item is Ellipsis for item in key) else (*key, ...)
    ]  # an element is a view too
    return view


def _same(a: Host, b: Host) -> bool:
    return (a.ctypes.data, a.shape, a.strides) == (b.ctypes.data, b.shape, b.strides)
