"""Random numbers, identical on every backend: one generator on the host, and bits that are a function of a counter.

Weights, shuffles and augmentation are drawn on the host by `numpy.random.Generator` and then uploaded. Dropout needs
its bits on the device: element n of a stream is a hash of n, in integer arithmetic that is identical in NumPy and CuPy.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TypeAlias

import numpy as np

from xpcnn.backend import Array, xp
from xpcnn.errors import HyperparameterError
from xpcnn.errors.checks import whole

__all__ = [
    "Seed",
    "counter_bits",
    "default_rng",
    "draw_key",
    "seed",
]

Seed: TypeAlias = np.random.Generator | int | None

_generator: ContextVar[np.random.Generator | None] = ContextVar("xpcnn.random", default=None)
_streams = np.random.SeedSequence()
"""The source of generators for new contexts."""
_drawing = threading.Lock()


def seed(number: int) -> None:
    """Restart the default generator, which is used wherever no `rng` is given.

    The generator belongs to a context: every thread has its own, and so has an asyncio task that calls `seed`. Other
    tasks share the generator of the task that started them. The n-th thread that draws without calling `seed` gets the
    n-th stream of the process's latest seed. So threads never share numbers; call `seed` in each thread to make its
    numbers independent of the order of the threads.

    Raises
    ------
    HyperparameterError
        For anything but a whole number of at least 0.
    """
    global _streams
    fix = "pass seed(0), say"
    number = whole(number, "number", "seed", 0, fix=fix, error=HyperparameterError)
    _generator.set(np.random.default_rng(number))
    with _drawing:
        _streams = np.random.SeedSequence(number)


def default_rng(rng: Seed = None) -> np.random.Generator:
    """Return a Generator as it is, a new one for a seed, and the context's generator for None.

    Raises
    ------
    HyperparameterError
        If NumPy cannot make a generator of it.
    """
    if rng is None:
        return _own()
    try:
        if not isinstance(rng, bool):
            return np.random.default_rng(rng)
    except (TypeError, ValueError):
        pass
    raise HyperparameterError(
        f"rng: expected a numpy Generator or a seed, a whole number of at least 0, got {rng!r:.60}; pass rng=0, say"
    )


def _own() -> np.random.Generator:
    """Return the context's generator; a new context gets the next stream."""
    generator = _generator.get()
    if generator is None:
        with _drawing:
            (stream,) = _streams.spawn(1)
        generator = np.random.default_rng(stream)
        _generator.set(generator)
    return generator


def draw_key(rng: Seed = None) -> int:
    """Draw the 64-bit key of a stream: odd, its upper half the complement of its lower, so never a run of zeros."""
    low = int(default_rng(rng).integers(2**32)) | 1
    return (low ^ 0xFFFFFFFF) << 32 | low


def counter_bits(counter: Array, key: int) -> Array:
    """Hash each 64-bit counter to 32 random bits: Squares, four rounds of a middle square.

    Parameters
    ----------
    counter : uint64 array of one axis or more (NumPy warns of a scalar's overflow, not of an array's)
    key : int
        From `draw_key`: another key is another stream.

    Returns
    -------
    uint32 array of the same shape

    References
    ----------
    Widynski, "Squares: a fast counter-based RNG", arXiv:2004.06278, section 4.
    """
    half, key = xp.uint64(32), xp.uint64(key)
    x = y = counter * key
    z = y + key
    for addend in (y, z, y):
        x = x * x + addend
        x = (x >> half) | (x << half)
    return ((x * x + z) >> half).astype(xp.uint32)


def __dir__() -> list[str]:
    return __all__
