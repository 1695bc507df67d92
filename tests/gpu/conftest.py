"""What holds on a device: each test runs on the simulated one, and on a GPU where there is one (`pytest -m gpu`)."""

import gc
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import pytest

from xpcnn import simulated
from xpcnn.backend import active_backend, use_backend
from xpcnn.backend._probe import probe_cupy
from xpcnn.kernels.cuda.launch import Device
from xpcnn.kernels.cuda.source import signatures
from xpcnn.simulated.judge import why_no_judge

WHY_NOT = {"simulated": why_no_judge(), "cupy": probe_cupy()}


@pytest.fixture(params=["simulated", pytest.param("cupy", marks=pytest.mark.gpu)])
def gpu(request):
    """The name of the backend that computes on a GPU, or as one would."""
    name = request.param
    if WHY_NOT[name]:
        pytest.skip(f"{name}: {WHY_NOT[name]}")
    with use_backend(name) as active:
        if name == "simulated" and not active.kernels:
            pytest.skip(active.remark)
        yield name


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
