"""From images to features."""

import math

from xpcnn.backend import Array, accelerated


@accelerated
def flatten(x: Array) -> Array:
    """Make all axes but the first into one; the last axis varies fastest: (N,C,H,W) -> (N,C*H*W)."""
    return x.reshape(len(x), math.prod(x.shape[1:]))  # (N, C, H, W) -> (N, C*H*W)
