"""The device's memory: what holds it, when it is given back, and what does not fit."""

import numpy as np
import pytest

from xpcnn import models
from xpcnn.backend import to_device, xp
from xpcnn.errors import BackendError
from xpcnn.simulated import device_memory, ledger
from xpcnn.simulated.memory import SIZE, OutOfMemoryError, memory_of

KB = np.zeros(256, np.float32)

ALLOCATE = {
    "upload": lambda x: to_device(KB),
    "empty": lambda x: xp.empty(256, np.float32),
    "zeros": lambda x: xp.zeros(256, np.float32),
    "arithmetic": lambda x: x + 1,
    "product": lambda x: x.reshape(16, 16) @ x.reshape(16, 16),
    "method": lambda x: x.copy(),
    "function": lambda x: xp.flip(x) * 1,
    "pad": lambda x: xp.pad(x[:-2], 1),
    "index": lambda x: x[xp.arange(256, dtype=np.uint8)],
}


@pytest.mark.parametrize("name", ALLOCATE)
def test_everything_that_allocates_is_weighed_and_bounded(name):
    x = to_device(KB)
    with device_memory() as memory, ledger() as counts:
        y = ALLOCATE[name](x)
    assert (y.nbytes, memory.held) == (1024, 1024)
    assert 1024 <= memory.peak <= counts.bytes_allocated <= 3 * 1024
    with device_memory(1023), pytest.raises(OutOfMemoryError, match=r"out of memory allocating [\d,]+ bytes"):
        ALLOCATE[name](x)


def test_views_and_work_in_place_hold_nothing_new():
    x = to_device(KB)
    with device_memory(0) as memory:
        x += 1
        x[3:5] = 2
        xp.exp(x, out=x)
        y = x.reshape(16, 16).T[2:]
    assert (memory.held, memory.peak) == (0, 0)
    assert memory_of(y._host) is memory_of(x._host)
    assert memory_of(xp.lib.stride_tricks.sliding_window_view(x, 3)._host) is memory_of(x._host)


def test_memory_is_given_back_with_the_last_view():
    with device_memory() as memory:
        x = to_device(KB)
        part = x[:1]
        del x
        assert memory.held == 1024
        del part
        assert memory.held == 0
    assert memory.peak == 1024


def test_blocks_nest_and_leave_out_what_was_there():
    x = to_device(KB)
    with device_memory(3 * 1024) as outer:
        y = x + 1
        with device_memory(1024) as inner:
            z = x + 1
            with pytest.raises(OutOfMemoryError, match="arrays hold 1,024 of 1,024"):
                x + 1
        del y, x
        assert (outer.held, inner.held) == (1024, 1024)
        del z
    assert (outer.held, inner.held) == (0, 0)


def test_the_device_is_bounded_without_a_block():
    """Nothing of this size is touched."""
    with pytest.raises(OutOfMemoryError, match="use a smaller batch or workspace") as caught:
        xp.empty(SIZE + 1, np.uint8)
    assert isinstance(caught.value, BackendError)
    assert isinstance(caught.value, MemoryError)
    assert isinstance(caught.value, xp.cuda.memory.OutOfMemoryError)


def test_a_training_step_gives_back_what_it_made():
    from xpcnn.losses import SoftmaxCrossEntropy
    from xpcnn.optimizers import SGD

    model, criterion = models.simple(10, 0, input_shape=(1, 8, 8)), SoftmaxCrossEntropy()
    optimizer = SGD(model.parameters())
    with device_memory() as memory:
        for _ in range(3):
            x, t = to_device(np.zeros((2, 1, 8, 8), np.float32)), to_device(np.array([1, 2]))
            criterion(model(x), t)
            model.backward(criterion.backward(), need_dx=False)
            optimizer.step()
        del x, t
    assert memory.held == 0 < memory.peak


def test_bytes_moved_are_those_of_each_array_once():
    x = to_device(KB)
    with ledger() as counts:
        y = x + x  # x and the result
        y += 1  # y, read and written
    assert counts.bytes_moved == 3 * 1024
    with ledger() as counts:
        to_device(KB)
        y.get()
    assert (counts.bytes_uploaded, counts.bytes_downloaded, counts.bytes_moved) == (1024, 1024, 0)
    counts.clear()
    assert counts.bytes_uploaded == 0
