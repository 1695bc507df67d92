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
    """What the capture of a CUDA graph forbids, or records in a way that its replays go wrong."""


class Forbidden(NamedTuple):
    """A call that a capture forbids: its name, where it stands, and why."""

    call: str
    site: str
    why: str


class Capture:
    """A capture under way: the stream it records, from which piece of its work on, and what was found in a survey."""

    def __init__(self, survey: bool, stream: int, tick: int) -> None:
        self.survey, self.stream, self.tick = survey, stream, tick
        self.found: list[Forbidden] = []

    def report(self, forbidden: Forbidden) -> None:
        """Raise CaptureError, or put it on the survey's list."""
        if not self.survey:
            raise CaptureError(
                f"{forbidden.call} at {forbidden.site}: the stream is capturing a CUDA graph, and {forbidden.why}"
            )
        self.found.append(forbidden)


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
Scale: TypeAlias = Callable[[Kind, int], None]

_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("xpcnn.simulated.listeners", default=())
_watchers: ContextVar[tuple[Watcher, ...]] = ContextVar("xpcnn.simulated.watchers", default=())
_scales: ContextVar[tuple[Scale, ...]] = ContextVar("xpcnn.simulated.scales", default=())
_captures: ContextVar[tuple[Capture, ...]] = ContextVar("xpcnn.simulated.captures", default=())


def emit(kind: Kind, call: str, why: str = "", waits: bool = True) -> None:
    """Announce an event, caused by a call of this name; a download `waits`, unless it is asked not to.

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
        if kind == "download" and waits:  # for whatever computes the array
            listener("synchronisation", call)


def emit_dtype(call: str, dtype: DType) -> None:
    """Announce the dtype of an array that a call has made."""
    for watcher in _watchers.get():
        watcher(call, dtype)


def weigh(kind: Kind, nbytes: int) -> None:
    """Announce how many bytes an event is about: allocated, copied, or read and written by a launch."""
    for scale in _scales.get():
        scale(kind, nbytes)


def captured() -> Capture | None:
    """Return the capture under way, the innermost, or None."""
    captures = _captures.get()
    return captures[-1] if captures else None


def forbid(call: str, why: str) -> None:
    """Raise CaptureError inside `capturing`, or put the call on the list there is; do nothing outside."""
    if (capture := captured()) is not None:
        capture.report(Forbidden(call, call_site(), why))


@contextmanager
def forbidding(capture: Capture) -> Iterator[None]:
    """Let `forbid` report to this capture in the ``with`` block."""
    token = _captures.set((*_captures.get(), capture))
    try:
        yield
    finally:
        _captures.reset(token)


@contextmanager
def listening(
    listener: Listener | None = None, watcher: Watcher | None = None, scale: Scale | None = None
) -> Iterator[None]:
    """Inform of every event in the ``with`` block, of this thread or asyncio task alone.

    ``listener(kind, call)`` is called for each, ``watcher(call, dtype)`` for every new array, ``scale(kind, nbytes)``
    for the bytes of a launch, an allocation or a copy.
    """
    listeners = _listeners.set((*_listeners.get(), *filter(None, (listener,))))
    watchers = _watchers.set((*_watchers.get(), *filter(None, (watcher,))))
    scales = _scales.set((*_scales.get(), *filter(None, (scale,))))
    try:
        yield
    finally:
        _listeners.reset(listeners)
        _watchers.reset(watchers)
        _scales.reset(scales)
