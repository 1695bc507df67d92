"""Chance, the same on every backend: one generator on the host, and bits that are a function of a counter.

Weights, shuffles and augmentation are drawn on the host by `numpy.random.Generator` and then uploaded.
Dropout needs its bits on the device: there element n of a stream is a hash of n, in integer arithmetic
that NumPy and CuPy do alike, so two backends drop the same units.
"""

from typing import TypeAlias

import numpy as np

from xpcnn.backend import Array, xp
from xpcnn.checks import whole
from xpcnn.errors import HyperparameterError

Seed: TypeAlias = np.random.Generator | int | None

_generator = np.random.default_rng()


def seed(number: int) -> None:
    """Restart the generator that everything uses which is given no `rng` of its own.

    Raises
    ------
    HyperparameterError
        For what is no whole number of at least 0.
    """
    global _generator
    fix = "pass seed(0), say"
    _generator = np.random.default_rng(whole(number, "number", "seed", 0, fix=fix, error=HyperparameterError))


def default_rng(rng: Seed = None) -> np.random.Generator:
    """Return a Generator as it is, a new one for a seed, and the package's own for None.

    Raises
    ------
    HyperparameterError
        For what NumPy makes no generator of.
    """
    if rng is None:
        return _generator
    try:
        if not isinstance(rng, bool):
            return np.random.default_rng(rng)
    except (TypeError, ValueError):
        pass
    raise HyperparameterError(
        f"rng: expected a numpy Generator or a seed, a whole number of at least 0, got {rng!r:.60}; pass rng=0, say"
    )


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
