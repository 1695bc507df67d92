"""From images to features."""

from xpcnn.backend import Array, accelerated


@accelerated
def flatten(x: Array) -> Array:
    """Lay all axes but the first into one, the last axis running fastest: (N,...) -> (N,I)."""
    features = 1
    for length in x.shape[1:]:
        features *= length
    return x.reshape(len(x), features)
