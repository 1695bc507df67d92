"""Where these kernels put their intermediate results, and how large they may get."""

import ctypes
import os
import sys
import threading
import weakref
from math import prod
from typing import Any

import numpy as np

from xpcnn.errors import BackendError
from xpcnn.kernels.cpu.layout import Array

_buffers = threading.local()
_all: weakref.WeakValueDictionary[int, Array] = weakref.WeakValueDictionary()
"""Every thread's buffers; one that is let go, or whose thread ends, leaves of itself."""


def workspace_bytes() -> int:
    """Return XPCNN_WORKSPACE, the bytes that up to sixteen threads together unroll at a time (default 32 MiB).

    A thread takes a sixteenth (see `fitting`), however many there are: then blocks, and so results, are the same for
    any number of threads. One window of the whole batch is the least that a thread unrolls, even if it is more.
    """
    text = os.environ.get("XPCNN_WORKSPACE") or str(32 << 20)
    if not text.isdecimal() or int(text) < 1:
        raise BackendError(f"XPCNN_WORKSPACE={text!r}: expected a number of bytes; set it to 33554432, say")
    return int(text)


def workspace(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return this thread's buffer in a shape; it holds whatever was left there, and the next call takes it back."""
    size = prod(shape) * np.dtype(dtype).itemsize
    buffer = getattr(_buffers, "buffer", None)
    if buffer is None or buffer.size < size:
        buffer = _buffers.buffer = np.empty(size, np.uint8)
        _all[id(buffer)] = buffer
    view: Array = buffer[:size].view(dtype).reshape(shape)
    return view


def workspace_held() -> int:
    """Return the bytes of all threads' buffers: each is as large as the most that it was asked to hold so far."""
    return sum(buffer.nbytes for buffer in list(_all.values()))


def keep_freed_memory() -> None:
    """Ask glibc to keep what is freed for the next allocation, and not to hand it back to the system.

    A training step frees and allocates the same arrays again and again. Handed back, each comes anew a page
    at a time, zeroed: that took a third of a step of SimpleConvNet. Other systems' allocators are left alone.
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
