"""Dropout's coin, thrown the same on every backend."""

import math

from xpcnn.backend import Array, accelerated, xp
from xpcnn.random import counter_bits


@accelerated
def keep_mask(shape: tuple[int, ...], p: float, counter: Array, key: int) -> Array:
    """Return a boolean array, False with probability p, from element `counter` of the stream on."""
    bits = counter_bits(counter + xp.arange(math.prod(shape), dtype=xp.uint64), key)
    return (bits >= xp.uint32(min(round(p * 2**32), 2**32 - 1))).reshape(shape)
