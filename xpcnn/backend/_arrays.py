"""Arrays cross between host and device here and nowhere else."""

from typing import Any

import numpy as np

from xpcnn.backend._current import active_backend
from xpcnn.backend._registry import Array, Backend
from xpcnn.errors import BackendError, DtypeError


def to_device(array: Any) -> Array:
    """Return an array on the active device: a copy if that is another memory, the array itself if it is there.

    Raises
    ------
    BackendError
        If the array is on a device that is not the active one.
    """
    backend = active_backend()
    if isinstance(array, (np.ndarray, np.generic, backend.ndarray)):
        return backend.upload(array)
    if hasattr(array, "__array_interface__") or not hasattr(array, "__cuda_array_interface__"):
        return backend.upload(np.asarray(array))
    raise BackendError(_elsewhere("to_device", array, backend))


def to_host(array: Any) -> np.ndarray:
    """Return an array as numpy.ndarray, waiting for the device if it has to be copied from there."""
    if isinstance(array, (np.ndarray, np.generic)):
        return np.asarray(array)
    if isinstance(array, active_backend().ndarray):
        return active_backend().download(array)
    return np.asarray(array.get() if hasattr(array, "get") else array)


def synchronize() -> None:
    """Wait until the device has finished all work."""
    active_backend().synchronize()


def check_array(array: Any, who: object) -> None:
    """Raise unless `array` is an array of the active backend; the message holds the call that fixes it."""
    backend = active_backend()
    if isinstance(array, backend.ndarray):
        return
    if isinstance(array, np.ndarray) or hasattr(array, "__cuda_array_interface__"):
        raise BackendError(_elsewhere(who, array, backend))
    raise DtypeError(
        f"{who}: expected a {backend.ndarray.__module__}.ndarray, got {type(array).__name__}; "
        "pass to_device(np.asarray(x, np.float32))"
    )


def _elsewhere(who: object, array: Any, backend: Backend) -> str:
    owner = type(array).__module__.partition(".")[0]
    fix = "to_device(x)" if isinstance(array, np.ndarray) else "to_device(to_host(x))"
    return (
        f"{who}: got a {owner} array, but the active backend is {backend.name}; "
        f"pass {fix}, or call set_backend({owner!r}) first"
    )
