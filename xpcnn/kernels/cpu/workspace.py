"""Buffers for intermediate results, how large they may get, and how much of an array a thread takes at a time."""

import ctypes
import os
import sys
import threading
import weakref
from math import prod
from typing import Any

import numpy as np

from xpcnn.errors import BackendError
from xpcnn.geometry import Pair
from xpcnn.kernels.cpu.layout import Array

THREADS = 16
"""Threads that share XPCNN_WORKSPACE, whether there are as many or not."""

_buffers = threading.local()
_all: weakref.WeakValueDictionary[int, Array] = weakref.WeakValueDictionary()
"""Every thread's buffer; one that is replaced, or whose thread ends, drops out."""


def workspace_bytes() -> int:
    """Return XPCNN_WORKSPACE, the bytes that up to sixteen threads together unroll at a time (default 32 MiB).

    A thread takes a sixteenth, however many there are: then blocks, and so results, are the same for any number of
    threads. One window of the whole batch is the least that a thread unrolls, even if it is more.

    Raises
    ------
    BackendError
        If XPCNN_WORKSPACE is not a whole number from 1 up.
    """
    text = os.environ.get("XPCNN_WORKSPACE") or str(32 << 20)
    if not text.isdecimal() or int(text) < 1:
        raise BackendError(f"XPCNN_WORKSPACE={text!r}: expected a number of bytes; set it to 33554432, say")
    return int(text)


def budget() -> int:
    """Return the bytes that one thread may hold at a time: the same for any number of threads, as are the blocks."""
    return max(workspace_bytes() // THREADS, 1)


def fitting(rows: int, columns: int, size: int) -> Pair:
    """Return how many rows and columns of `size` bytes a thread may hold: whole rows if it can, at least one number."""
    most, size = budget(), max(size, 1)
    Q = -(-columns // min(-(-columns * size // most), columns))
    return max(1, min(rows, most // (size * Q))), Q


def pieces(whole: slice, length: int) -> list[slice]:
    """Cut a slice into slices of this length; the last one may be shorter."""
    return [slice(i, min(i + length, whole.stop)) for i in range(whole.start, whole.stop, length)]


def workspace(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return this thread's buffer in a shape: its old content is still there, and the next call reuses it."""
    size = prod(shape) * np.dtype(dtype).itemsize
    buffer = getattr(_buffers, "buffer", None)
    if buffer is None or buffer.size < size:
        buffer = _buffers.buffer = np.empty(size, np.uint8)
        _all[id(buffer)] = buffer
    view: Array = buffer[:size].view(dtype).reshape(shape)
    return view


def workspace_held() -> int:
    """Return the bytes of all threads' buffers: each is as large as the largest request so far."""
    return sum(buffer.nbytes for buffer in list(_all.values()))


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory for the next allocation, and not to return it to the system.

    A training step frees and allocates the same arrays again and again. Memory that was returned comes back a page at a
    time, zeroed: that took a third of a step of SimpleConvNet. Other systems' allocators are left as they are.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl has none
        return
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, most = -1, -3, 1 << 30
    mallopt(M_MMAP_THRESHOLD, most)
    mallopt(M_TRIM_THRESHOLD, most)
