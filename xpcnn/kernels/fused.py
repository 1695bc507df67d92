"""Substitutes for fused ops, made of a backend's own substitutes for their parts."""

from collections.abc import Callable
from typing import Any

from xpcnn.geometry import Window

Substitutes = dict[str, Callable[..., Any]]


def fused(parts: Substitutes) -> Substitutes:
    """Return the fused ops that a backend's substitutes can make; they look their parts up when they are called."""
    if not {"max_pool", "relu"} <= parts.keys():
        return {}

    def relu_max_pool(x: Any, window: Window) -> tuple[Any, Any]:
        """Substitute for `xpcnn.ops.relu_max_pool`: the maximum first, so that ReLU has fewer pixels to do."""
        y, winner = parts["max_pool"](x, window)
        return parts["relu"](y), winner

    relu_max_pool.__module__ = parts["max_pool"].__module__  # it is one of theirs
    relu_max_pool.made_of = parts  # type: ignore[attr-defined]
    return {"relu_max_pool": relu_max_pool}


def renewed(kernels: Substitutes) -> Substitutes:
    """Return kernels whose fused ops are made of these very kernels, not of those that some were exchanged for."""
    own = {name: op for name, op in kernels.items() if not hasattr(op, "made_of")}
    for name, op in fused(own).items():
        own.setdefault(name, op)
    return own
