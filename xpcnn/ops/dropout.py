"""Dropout masks, identical on every backend."""

import math

from xpcnn.backend import Array, accelerated, xp
from xpcnn.random import counter_bits


@accelerated
def keep_mask(shape: tuple[int, ...], p: float, counter: Array, key: int) -> Array:
    """Return booleans, False with probability p, from elements `counter`, `counter` + 1, ... of a random stream."""
    bits = counter_bits(counter + xp.arange(math.prod(shape), dtype=xp.uint64), key)
    keep = bits >= xp.uint32(min(round(p * 2**32), 2**32 - 1))
    return keep.reshape(shape)  # (elements,) -> shape
