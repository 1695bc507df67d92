"""What happens on the device, announced as it happens: ledgers count it, a capture forbids part of it.

A CUDA graph records launches, and nothing may happen meanwhile that needs the device's answer or another
library's own workspace: CuPy raises in the middle of the capture. `capturing` raises for the same calls.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from xpcnn.errors import BackendError
from xpcnn.simulated.call_site import call_site

DType: TypeAlias = "np.dtype[Any]"
Kind: TypeAlias = Literal["launch", "allocation", "upload", "download", "synchronisation"]


class CaptureError(BackendError):
    """A call that the capture of a CUDA graph forbids."""


class Forbidden(NamedTuple):
    """A call that a capture forbids: its name, where it stands, and why."""

    call: str
    site: str
    why: str


WHY = {
    "upload": "it copies from the host's memory; upload before the capture, into the same array each time",
    "download": "it copies to the host's memory; download after the capture",
    "synchronisation": "the host would wait for launches that are only being recorded",
}
MASK = "the shape of its result is known to the device only; use xp.where, or multiply by the mask"
CUBLAS = "CuPy's wrapper refuses cuBLAS in a capture; call cuBLAS with a handle and a workspace of one's own"
RANDOM = "cuRAND draws from a state on the host; draw on the host before, or use xpcnn.random.counter_bits"

Listener: TypeAlias = Callable[[Kind, str], None]
Watcher: TypeAlias = Callable[[str, DType], None]

_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("xpcnn.simulated.listeners", default=())
_watchers: ContextVar[tuple[Watcher, ...]] = ContextVar("xpcnn.simulated.watchers", default=())
_captures: ContextVar[tuple[list[Forbidden] | None, ...]] = ContextVar("xpcnn.simulated.captures", default=())


def emit(kind: Kind, call: str, why: str = "") -> None:
    """Announce an event, caused by a call of this name.

    Raises
    ------
    CaptureError
        Inside `capturing`, for a copy between host and device and for a synchronisation; `why` they are
        forbidden, if not for the usual reason.
    """
    if kind in WHY and _captures.get():
        forbid(call, why or WHY[kind])
    for listener in _listeners.get():
        listener(kind, call)
        if kind == "download":  # which waits for whatever computes the array
            listener("synchronisation", call)


def emit_dtype(call: str, dtype: DType) -> None:
    """Announce the dtype of an array that a call has made."""
    for watcher in _watchers.get():
        watcher(call, dtype)


def forbid(call: str, why: str) -> None:
    """Raise CaptureError inside `capturing`, or put the call on the list there is; do nothing outside."""
    captures = _captures.get()
    if not captures:
        return
    survey = captures[-1]
    if survey is None:
        raise CaptureError(f"{call} at {call_site()}: the stream is capturing a CUDA graph, and {why}")
    survey.append(Forbidden(call, call_site(), why))


@contextmanager
def capturing(survey: bool = False) -> Iterator[list[Forbidden]]:
    """Inside the ``with`` block everything that the capture of a CUDA graph forbids is a CaptureError.

    Uploads, downloads, synchronisations, boolean masks and `nonzero`, device random numbers, and CuPy's own
    cuBLAS (`matmul`, `dot`, `tensordot`, `einsum`, `linalg`). So that a step can be captured is a unit test.

    Parameters
    ----------
    survey : bool
        Let the calls happen and collect them in the list that the block is given: what is left to mend.

    Examples
    --------
    >>> import numpy as np
    >>> from xpcnn.simulated import ndarray
    >>> loss = ndarray(np.float32(2.0))
    >>> with capturing():
    ...     doubled = loss + loss
    >>> with capturing(survey=True) as forbidden:
    ...     number = float(loss)
    >>> [(call, why) for call, site, why in forbidden]
    [('float()', "it copies to the host's memory; download after the capture")]
    """
    found: list[Forbidden] = []
    token = _captures.set((*_captures.get(), found if survey else None))
    try:
        yield found
    finally:
        _captures.reset(token)


@contextmanager
def listening(listener: Listener | None = None, watcher: Watcher | None = None) -> Iterator[None]:
    """Call `listener(kind, call)` for every event in the ``with`` block, `watcher(call, dtype)` for every new array.

    Of this thread or asyncio task alone: what others do meanwhile is theirs.
    """
    listeners = _listeners.set((*_listeners.get(), *filter(None, (listener,))))
    watchers = _watchers.set((*_watchers.get(), *filter(None, (watcher,))))
    try:
        yield
    finally:
        _listeners.reset(listeners)
        _watchers.reset(watchers)
