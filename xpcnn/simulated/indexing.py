"""Subscripts, where CuPy differs from NumPy.

* A boolean mask makes the host wait, since only the device knows how many elements it selects.
* A list is uploaded, each time.
* An index out of range wraps around silently in CuPy; here it is an IndexError.
* If an index comes twice in an assignment, any of the values may win; here it is an error.
* `scatter_add` and `add.at` add floating numbers in an order that changes from run to run; here it is an error.
* An element is an array without axes, a view, not a number.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from xpcnn.errors import BackendError
from xpcnn.simulated.events import MASK, emit
from xpcnn.simulated.guard import Host, OnDevice, to_hosts

ATOMIC = (
    "CuPy adds floating numbers atomically, in an order that changes from run to run, and the last digits with it; "
    "gather what belongs to an element, and sum along an axis"
)
READ_ONLY = "; it is a view made by stride tricks or broadcasting, in which one element appears several times"


class OrderError(BackendError):
    """A sum of floating numbers whose order a GPU does not promise."""


@contextmanager
def in_range(call: str) -> Iterator[None]:
    """Say of an IndexError in the ``with`` block what CuPy does instead."""
    try:
        yield
    except IndexError as error:
        raise IndexError(f"{call}: {error}; CuPy would wrap it around silently") from None


def getitem(host: Host, key: Any) -> Host:
    """Return host[key]: a view for slices and integers, a copy for arrays."""
    key = _checked(key, "getitem")
    if not _advanced(key):
        return _view(host, key)
    with in_range("getitem"):
        return np.asarray(host[key])


def setitem(host: Host, key: Any, value: Any) -> Host | None:
    """Do host[key] = value, unless an index comes twice; return what is written, or None if CuPy launches no kernel.

    ``x[key] += 1`` ends in an assignment of the view x[key] to itself, for which CuPy launches nothing.
    """
    key, value = _checked(key, "setitem"), to_hosts(value, "setitem: value")
    if isinstance(value, list | tuple):
        raise TypeError(f"setitem: Unsupported type {type(value)}; pass to_device(x)")
    if any(isinstance(item, list | np.ndarray) and np.asarray(item).dtype.kind in "iu" for item in key):
        with in_range("setitem"):
            refuse_repeated(np.asarray(np.arange(host.size).reshape(host.shape)[key]), "setitem")
    written = host if _advanced(key) else _view(host, key)
    if isinstance(value, Host) and written is not host and _same(written, value):
        return None
    try:
        host[key] = value
    except ValueError as error:
        raise ValueError(f"setitem: {error}{READ_ONLY if not host.flags.writeable else ''}") from None
    return written


def refuse_repeated(places: Host, call: str) -> None:
    """Raise a ValueError if a number comes twice among the places that an assignment writes to."""
    if places.size != np.unique(places).size:
        raise ValueError(
            f"{call}: an index comes twice in the assignment, and on a GPU any of the values may win; "
            "write each element once, or add up in a fixed order: gather what belongs to an element, and sum"
        )


def _checked(key: Any, call: str) -> tuple[Any, ...]:
    """Return a subscript with NumPy's arrays in place of the device's; announce its cost in CuPy."""
    items = key if isinstance(key, tuple) else (key,)
    for item in items:
        if isinstance(item, list):
            emit("upload", f"{call} with a list as index")
        elif isinstance(item, OnDevice) and item._host.dtype == bool:
            emit("synchronisation", f"{call} with a boolean mask", why=MASK)
    return tuple(to_hosts(item, f"{call}: index") for item in items)


def _advanced(key: tuple[Any, ...]) -> bool:
    return any(isinstance(item, list | np.ndarray | bool | np.bool_) for item in key)


def _view(host: Host, key: tuple[Any, ...]) -> Host:
    with_axes = key if any(item is Ellipsis for item in key) else (*key, ...)  # an element is a view too
    view: Host = host[with_axes]
    return view


def _same(a: Host, b: Host) -> bool:
    return (a.ctypes.data, a.shape, a.strides) == (b.ctypes.data, b.shape, b.strides)
