import inspect

import numpy as np
import pytest

from xpcnn.backend import synchronize, to_device, to_host, xp
from xpcnn.simulated import ledger
from xpcnn.simulated.call_site import call_site

HERE = "simulated/test_ledger.py"


def line():
    """The line of the caller."""
    return inspect.currentframe().f_back.f_lineno


def test_every_kind_is_counted_by_call_and_line():
    host = np.ones((2, 2), np.float32)
    with ledger() as counts:
        x = to_device(host)
        upload = line() - 1
        y = x + x * 2
        to_host(y.sum())
        synchronize()
        wait = line() - 1
    assert (counts.uploads, counts.launches, counts.downloads, counts.synchronisations) == (1, 3, 1, 2)
    assert counts.allocations == 4  # x, x * 2, the sum of both, y.sum()
    assert counts.calls("upload") == {("asarray", f"{HERE}:{upload}"): 1}
    assert counts.calls("launch") == {
        ("multiply", f"{HERE}:{upload + 2}"): 1,
        ("add", f"{HERE}:{upload + 2}"): 1,
        ("sum", f"{HERE}:{upload + 3}"): 1,
    }
    assert ("synchronize()", f"{HERE}:{wait}") in counts.calls("synchronisation")


def test_in_place_work_allocates_nothing():
    x = to_device(np.ones(3, np.float32))
    with ledger() as counts:
        x += 1
        x[...] = 0
        xp.exp(x, out=x)
    assert (counts.launches, counts.allocations) == (3, 0)


def test_blocks_nest_and_what_is_outside_is_not_counted():
    x = to_device(np.ones(3, np.float32))
    x + 1
    with ledger() as outer:
        x + 1
        with ledger() as inner:
            x + 1
        x + 1
    x + 1
    assert (outer.launches, inner.launches) == (3, 1)
    inner.clear()
    assert inner.launches == 0


def test_a_block_that_fails_stops_counting():
    x = to_device(np.ones(3, np.float32))
    with pytest.raises(KeyError), ledger() as counts:
        raise KeyError
    x + 1
    assert not counts.entries


def test_the_table_has_a_row_a_line_and_totals():
    x = to_device(np.ones(3, np.float32))
    with ledger() as counts:
        y = x * 2 + 1
        float(y[0])
        place = line()
    head, rule, *rows, _, total = str(counts).splitlines()
    assert head.split() == ["line", "launch", "allocation", "upload", "download", "synchronisation", "calls"]
    assert set(rule) == {"-"}
    assert [row.split(maxsplit=6) for row in rows] == [
        [f"{HERE}:{place - 2}", "2", "2", ".", ".", ".", "add, multiply"],
        [f"{HERE}:{place - 1}", ".", ".", ".", "1", "1", "float()"],
    ]
    assert total.split() == ["total", "2", "2", "0", "1", "1"]
    assert repr(counts) == "Ledger(launch=2, allocation=2, upload=0, download=1, synchronisation=1)"


def test_a_place_in_the_package_is_told_from_its_folder():
    x = to_device(np.ones(3, np.float32))
    with ledger() as counts:
        from xpcnn import ops

        ops.relu.__wrapped__(x)
    (entry,) = {entry.site for entry in counts.entries}
    assert entry.startswith("ops/activation.py:")


def test_call_site_outside_of_any_library():
    assert call_site() == f"{HERE}:{line()}"
