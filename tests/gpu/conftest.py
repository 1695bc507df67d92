"""What only a GPU can show; `pytest -m gpu`. XPCNN_GPU_TESTS=simulated runs these on the simulated device instead."""

import gc
import os
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import pytest

from xpcnn import simulated
from xpcnn.backend import active_backend, probe_cupy, use_backend
from xpcnn.kernels.cuda.launch import Device
from xpcnn.kernels.cuda.source import signatures
from xpcnn.simulated.judge import why_no_judge

NAME = os.environ.get("XPCNN_GPU_TESTS") or "cupy"


def pytest_collection_modifyitems(items):
    for item in items:
        if "/gpu/" in item.path.as_posix():
            item.add_marker(pytest.mark.gpu)


@pytest.fixture
def gpu():
    """The name of the backend that computes on a GPU."""
    why_not = probe_cupy() if NAME == "cupy" else why_no_judge()
    if why_not:
        pytest.skip(f"{NAME}: {why_not}")
    with use_backend(NAME) as active:
        if NAME == "simulated" and not active.kernels:
            pytest.skip(active.remark)
    return NAME


@contextmanager
def counting():
    """Count, on the active backend, what a real GPU lets one count: uploads, downloads, launches of our kernels."""
    counts, backend = Counter(), active_backend()
    if backend.name == "simulated":
        with simulated.ledger() as entries:
            yield counts
        counts.update(upload=entries.uploads, download=entries.downloads)
        for (call, _), number in entries.calls("launch").items():
            if call in signatures():
                counts[call] += number
        return

    def counted(kind, function):
        def call(*args, **kwargs):
            counts[kind] += 1
            return function(*args, **kwargs)

        return call

    former_function = Device._function
    Device._function = lambda self, signature, types: counted(
        signature.name, former_function(self, signature, types)
    )
    watched = replace(
        backend, upload=counted("upload", backend.upload), download=counted("download", backend.download)
    )
    try:
        with use_backend(watched):
            yield counts
    finally:
        Device._function = former_function


def bytes_held():
    """Return the bytes of device memory that arrays hold, and those that the pool has taken for them."""
    gc.collect()
    backend = active_backend()
    if backend.name == "cupy":
        pool = backend.module.get_default_memory_pool()
        return pool.used_bytes(), pool.total_bytes()
    held = sum(item.nbytes for item in gc.get_objects() if type(item) is simulated.ndarray)
    return held, held
