"""From images to features."""

import math

from xpcnn.backend import Array, accelerated


@accelerated
def flatten(x: Array) -> Array:
    """Lay all axes but the first into one, the last axis running fastest: (N,...) -> (N,I)."""
    return x.reshape(len(x), math.prod(x.shape[1:]))
