"""The ledger: what a part of a program asked of the device, by kind, call and line.

A launch costs microseconds of the host, an allocation a search in the memory pool, a copy between host and device the
time of the bus; a synchronisation makes the host wait for everything queued before.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, get_args

from xpcnn._table import text_table
from xpcnn.simulated.call_site import call_site
from xpcnn.simulated.events import Kind, Listener, listening

KINDS: tuple[Kind, ...] = get_args(Kind)
COUNTS: dict[str, Kind] = {
    "launches": "launch", "allocations": "allocation", "uploads": "upload", "downloads": "download",
    "synchronisations": "synchronisation",
}  # fmt: skip
BYTES: dict[str, Kind] = {
    "bytes_moved": "launch", "bytes_allocated": "allocation", "bytes_uploaded": "upload",
    "bytes_downloaded": "download",
}  # fmt: skip


class Entry(NamedTuple):
    """A kind of event, the call that caused it, and the line that called."""

    kind: Kind
    call: str
    site: str


class Ledger(Listener):
    """Counts of events; `entries` is a Counter of Entry, `nbytes` one of bytes by kind.

    Totals are `launches`, `allocations`, `uploads`, `downloads`, `synchronisations`; and `bytes_moved`,
    `bytes_allocated`, `bytes_uploaded`, `bytes_downloaded`.

    A download waits for the device, so it counts as a synchronisation too. An array function counts as one launch
    (CuPy's `pad`, for instance, makes several), a view as none. `bytes_moved` is what launches read and write, each
    array once a launch: what the device's memory has to move.
    """

    def __init__(self) -> None:
        self.entries: Counter[Entry] = Counter()
        self.nbytes: Counter[Kind] = Counter()

    def __getattr__(self, name: str) -> int:
        if name in COUNTS:
            return self.total(COUNTS[name])
        if name in BYTES:
            return self.nbytes[BYTES[name]]
        raise AttributeError(f"a Ledger has no {name!r}; it has {', '.join((*COUNTS, *BYTES))}")

    def total(self, kind: Kind) -> int:
        """Return the number of events of a kind."""
        return sum(count for entry, count in self.entries.items() if entry.kind == kind)

    def calls(self, kind: Kind) -> dict[tuple[str, str], int]:
        """Return how often each (call, line) caused an event of a kind."""
        return {(entry.call, entry.site): n for entry, n in self.entries.items() if entry.kind == kind}

    def count(self, kind: Kind, call: str) -> None:
        """Enter an event, at the line that calls."""
        self.entries[Entry(kind, call, call_site())] += 1

    def weigh(self, kind: Kind, nbytes: int) -> None:
        """Enter the bytes of an event."""
        self.nbytes[kind] += nbytes

    def clear(self) -> None:
        """Begin again."""
        self.entries.clear()
        self.nbytes.clear()

    def __str__(self) -> str:
        """A table with a row for each line of the program, in the order of the program's files, and the totals."""
        sites: dict[str, Counter[Kind]] = {}
        calls: dict[str, set[str]] = {}
        for (kind, call, site), number in self.entries.items():
            sites.setdefault(site, Counter())[kind] += number
            calls.setdefault(site, set()).add(call)
        rows = [
            (site, *(str(sites[site][kind] or ".") for kind in KINDS), ", ".join(sorted(calls[site])))
            for site in sorted(sites, key=_by_file_and_line)
        ]
        rows = [("line", *KINDS, "calls"), *rows, ("total", *(str(self.total(kind)) for kind in KINDS), "")]
        return text_table(rows, "<" + ">" * len(KINDS) + "<", total=True)

    def __repr__(self) -> str:
        return f"Ledger({', '.join(f'{kind}={self.total(kind)}' for kind in KINDS)})"


@contextmanager
def ledger() -> Iterator[Ledger]:
    """Count inside the ``with`` block what is asked of the simulated device; blocks may be nested.

    Examples
    --------
    >>> import numpy as np
    >>> from xpcnn.simulated import ndarray
    >>> x = ndarray(np.ones(3, np.float32))
    >>> with ledger() as counts:
    ...     y = x * 2 + 1
    ...     number = float(y[0])
    >>> counts.launches, counts.allocations, counts.uploads, counts.downloads, counts.synchronisations
    (2, 2, 0, 1, 1)
    """
    counts = Ledger()
    with listening(counts):
        yield counts


def _by_file_and_line(site: str) -> tuple[str, int]:
    file, _, line = site.rpartition(":")
    return file, int(line)
