"""xpcnn: convolutional networks in plain arrays, on NumPy or CuPy."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

from xpcnn.backend import register_backend, set_backend, synchronize, to_device, to_host, use_backend
from xpcnn.errors import XpcnnError
from xpcnn.layers import no_grad

if TYPE_CHECKING:
    from xpcnn.debug.check_layer import check_layer as check_layer
    from xpcnn.debug.gradients import gradient_check, numerical_gradient
    from xpcnn.training.fit import fit as fit

__all__ = [
    "XpcnnError",
    "check_layer",
    "fit",
    "gradient_check",
    "no_grad",
    "numerical_gradient",
    "register_backend",
    "set_backend",
    "synchronize",
    "to_device",
    "to_host",
    "use_backend",
]

_LATER = {
    "check_layer": "xpcnn.debug",
    "fit": "xpcnn.training",
    "gradient_check": "xpcnn.debug",
    "numerical_gradient": "xpcnn.debug",
}
"""Names that load their module when they are first asked for."""

_ROOMS = frozenset((
    "backend", "checkpoint", "data", "debug", "errors", "geometry", "initializers", "interop", "layers", "losses",
    "models", "ops", "optimizers", "random", "schedules", "simulated", "training", "visualization",
))  # fmt: skip
"""Modules of which each loads when it is first named: ``import xpcnn; xpcnn.models.simple()``."""


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"xpcnn.{name}")
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'xpcnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_LATER, *_ROOMS})
