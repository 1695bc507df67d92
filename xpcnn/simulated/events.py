"""What happens on the device, announced as it happens: ledgers count it, a capture forbids some of it.

A CUDA graph records launches. Meanwhile nothing may happen that needs an answer of the device or another library's
workspace: CuPy raises in the middle of the capture. `capturing` raises for the same calls.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np

from xpcnn.errors import BackendError
from xpcnn.simulated.call_site import call_site

T = TypeVar("T")
DType: TypeAlias = "np.dtype[Any]"
Kind: TypeAlias = Literal["launch", "allocation", "upload", "download", "synchronisation"]


class CaptureError(BackendError):
    """A call that the capture of a CUDA graph forbids, or whose replays would go wrong."""


class Forbidden(NamedTuple):
    """A call that a capture forbids: its name, its line, and why."""

    call: str
    site: str
    why: str


class Capture:
    """A capture under way: its stream, the piece of work in that stream that it began with, and a survey's finds."""

    def __init__(self, survey: bool, stream: int, tick: int) -> None:
        self.survey, self.stream, self.tick = survey, stream, tick
        self.found: list[Forbidden] = []

    def report(self, forbidden: Forbidden) -> None:
        """Raise CaptureError; in a survey, append to its list."""
        if not self.survey:
            raise CaptureError(
                f"{forbidden.call} at {forbidden.site}: the stream is capturing a CUDA graph, and {forbidden.why}"
            )
        self.found.append(forbidden)


class Listener:
    """Is informed of every event; each method does nothing unless a subclass replaces it."""

    def count(self, kind: Kind, call: str) -> None:
        """Take note of an event that a call of this name caused."""

    def weigh(self, kind: Kind, nbytes: int) -> None:
        """Take note of the bytes of an event: allocated, copied, or read and written by a launch."""

    def see(self, call: str, dtype: DType) -> None:
        """Take note of the dtype of an array that a call has made."""


WHY = {
    "upload": "it copies from the host's memory; upload before the capture, into the same array each time",
    "download": "it copies to the host's memory; download after the capture",
    "synchronisation": "the host would wait for launches that are only being recorded",
}
MASK = "the shape of its result is known to the device only; use xp.where, or multiply by the mask"
CUBLAS = "CuPy's wrapper refuses cuBLAS in a capture; call cuBLAS with a handle and a workspace of one's own"
RANDOM = "cuRAND draws from a state on the host; draw on the host before, or use xpcnn.random.counter_bits"

_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("xpcnn.simulated.listeners", default=())
_captures: ContextVar[tuple[Capture, ...]] = ContextVar("xpcnn.simulated.captures", default=())


def emit(kind: Kind, call: str, why: str = "", waits: bool = True) -> None:
    """Announce an event, caused by a call of this name; a download also `waits`, unless the caller asked it not to.

    Raises ------ CaptureError Inside `capturing`, for a copy between host and device and for a synchronisation; `why`
    replaces the usual reason.
    """
    if kind in WHY and _captures.get():
        forbid(call, why or WHY[kind])
    for listener in _listeners.get():
        listener.count(kind, call)
        if kind == "download" and waits:  # for whatever computes the array
            listener.count("synchronisation", call)


def weigh(kind: Kind, nbytes: int) -> None:
    """Announce the bytes of an event."""
    for listener in _listeners.get():
        listener.weigh(kind, nbytes)


def emit_dtype(call: str, dtype: DType) -> None:
    """Announce the dtype of an array that a call has made."""
    for listener in _listeners.get():
        listener.see(call, dtype)


def captured() -> Capture | None:
    """Return the innermost capture under way, or None."""
    return (_captures.get() or (None,))[-1]


def forbid(call: str, why: str) -> None:
    """Report a call to the capture under way; do nothing outside of `capturing`."""
    if (capture := captured()) is not None:
        capture.report(Forbidden(call, call_site(), why))


@contextmanager
def during(variable: ContextVar[T], value: T) -> Iterator[None]:
    """Give a context variable a value in the ``with`` block, for this thread or asyncio task alone."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def forbidding(capture: Capture) -> AbstractContextManager[None]:
    """Let `forbid` report to this capture in the ``with`` block."""
    return during(_captures, (*_captures.get(), capture))


def listening(listener: Listener) -> AbstractContextManager[None]:
    """Inform the listener of every event in the ``with`` block."""
    return during(_listeners, (*_listeners.get(), listener))
