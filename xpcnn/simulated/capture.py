"""Faults of a CUDA graph: calls that may not be recorded, and state that every replay would get wrong.

A graph records addresses and numbers. It is replayed without Python: a number that Python changes between two steps
keeps the value of the capture, and an array that a step binds to an attribute is never read by a replay.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import FunctionType, ModuleType
from typing import Any

from xpcnn.simulated import history, memory, streams
from xpcnn.simulated.call_site import call_frame, shown
from xpcnn.simulated.events import Capture, Forbidden, forbidding
from xpcnn.simulated.guard import OnDevice
from xpcnn.simulated.history import Launch, Place
from xpcnn.simulated.launches import LEGACY, Extent

IN_PLACE = "a graph continues to read the old one; write in place, x[...] = new or x += change"
NUMBER = (
    "a graph repeats the number of the capture; keep it in an array on the device, let the kernel read it there, and "
    "write the array before each replay"
)


class capturing:  # noqa: N801  # a ``with`` statement's word
    """Inside the ``with`` block everything that the capture of a CUDA graph forbids is a CaptureError.

    Uploads, downloads, synchronisations, boolean masks and `nonzero`, device random numbers, CuPy's own cuBLAS
    (`matmul`, `dot`, `tensordot`, `einsum`, `linalg`), and the legacy default stream: open a stream of your own
    around the block. At the end of the block it is also an error if a replay would be wrong:

    * state that is bound to a new array: memory that the block used and released, another array than in the step
      before, or, in the objects `state`, an attribute whose array was read and has been replaced;
    * a number of Python's that differs from the step before: a step count, a learning rate under a schedule, an index.

    The step before is the last run of the same launches, from the same lines, on the same arrays. So run the step at
    least once before it is captured, as a CUDA graph needs it anyhow. Without one, a changing number cannot be found.

    Parameters
    ----------
    state : objects
        Model, loss, optimizer, ...: all that keeps arrays from one step to the next.
    survey : bool
        Raise nothing, and collect the faults in the list that the block is given.

    Examples
    --------
    >>> import numpy as np
    >>> from xpcnn.simulated import ndarray, stand_in as xp
    >>> loss = ndarray(np.float32(2.0))
    >>> with xp.cuda.Stream(non_blocking=True), capturing():
    ...     doubled = loss + loss
    >>> with xp.cuda.Stream(non_blocking=True), capturing(survey=True) as forbidden:
    ...     number = float(loss)
    >>> [(call, why) for call, site, why in forbidden]
    [('float()', "it copies to the host's memory; download after the capture")]
    """

    def __init__(self, *state: Any, survey: bool = False) -> None:
        if any(isinstance(given, bool) for given in state):
            raise TypeError("capturing: pass survey by name, capturing(survey=True)")
        self._state, self._survey = state, survey

    def __enter__(self) -> list[Forbidden]:
        stream = streams.current_stream()
        self._capture = Capture(self._survey, stream.number, streams.next_work(stream)[stream.number])
        if stream.number == 0:
            self._capture.report(Forbidden("capturing", shown(call_frame()), LEGACY))
        self._newest, self._first = memory.newest(), history.next_number()
        self._held = dict(_arrays_of(self._state))
        self._block = ExitStack()
        self._block.enter_context(forbidding(self._capture))
        return self._capture.found

    def __exit__(self, kind: Any, *error: Any) -> None:
        self._block.close()
        if kind is None:
            for forbidden in dict.fromkeys(self._wrong_in_a_replay()):
                self._capture.report(forbidden)

    def _wrong_in_a_replay(self) -> Iterator[Forbidden]:
        recorded = history.since(self._first)
        used = {
            serial: launch
            for launch in reversed(recorded)
            for serial, *_ in (*launch.reads, *launch.writes)
            if serial <= self._newest
        }
        for serial, launch in used.items():
            if not memory.is_alive(serial):
                why = f"it uses an array that the block released: {IN_PLACE}, and keep what it reads"
                yield _at(launch, why)
        now = dict(_arrays_of(self._state))
        for path, array in self._held.items():
            first = used.get(_place(array).serial)
            if first is not None and (path not in now or _place(now[path]) != _place(array)):
                yield _at(first, f"it uses {path}, which is bound to another array afterwards: {IN_PLACE}")
        step = history.last_run_of(recorded)
        if step is not None:
            yield from _changed(*step, recorded, self._newest)


def _arrays_of(value: Any, path: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, OnDevice]]:
    """Yield (path, array) for the arrays of the device in attributes, lists, tuples and dictionaries of an object."""
    seen = set() if seen is None else seen
    if isinstance(value, OnDevice):
        yield path, value
        return
    if id(value) in seen or isinstance(value, type | ModuleType | FunctionType | str | bytes):
        return
    seen.add(id(value))
    if isinstance(value, dict):
        items = [(f"{path}[{key!r}]", item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        items = [(f"{path}[{i}]" if path else type(item).__name__, item) for i, item in enumerate(value)]
    else:
        slots = [name for kind in type(value).__mro__ for name in _names(vars(kind).get("__slots__", ()))]
        names = [*getattr(value, "__dict__", {}), *slots]
        items = [(f"{path}.{name}", getattr(value, name)) for name in names if hasattr(value, name)]
    for name, item in items:
        yield from _arrays_of(item, name, seen)


def _names(slots: str | Iterable[str]) -> Iterable[str]:
    return [slots] if isinstance(slots, str) else [name for name in slots if not name.startswith("__")]


def _changed(before: list[Launch], newest_before: int, now: list[Launch], newest: int) -> Iterator[Forbidden]:
    """Yield the arguments in which a step differs from the step before."""

    def kept(step: list[Launch], newest: int, places: str) -> set[int]:  # not made by the step itself
        used = (place for launch in step for place in getattr(launch, places))
        return {place.serial for place in used if place.serial <= newest or place.given}

    read_before, read = kept(before, newest_before, "reads"), kept(now, newest, "reads")
    written_before, written = kept(before, newest_before, "writes"), kept(now, newest, "writes")
    made_before = range(newest_before + 1, before[-1].newest + 1)
    if written_before or written:  # the same, or exchanged
        same = bool(written_before & written) or written_before | read_before == written | read
    else:  # all that is kept is read only: the same, or made by the step before
        same = bool(read_before & read) and all(new in made_before for new in read - read_before)
    if not same:  # the same lines, but another model
        return
    for old, launch in zip(before, now, strict=True):
        for a, b in zip(old.numbers, launch.numbers, strict=False):
            if a != b and not (a != a and b != b):
                yield _at(launch, f"it was given {a} in the step before and {b} now: {NUMBER}")
        for a, b in zip((*old.reads, *old.writes), (*launch.reads, *launch.writes), strict=False):
            if a != b and b.serial <= newest:
                yield _at(launch, f"it uses another array than in the step before: {IN_PLACE}")


def _at(launch: Launch, why: str) -> Forbidden:
    return Forbidden(launch.call, shown(launch.site), why)


def _place(array: OnDevice) -> Place:
    return Extent.of(array._host).place
