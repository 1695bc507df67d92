"""The backends that xpcnn brings: NumPy, CuPy, the simulated device, and the better of the first two."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from xpcnn.backend._probe import probe_cupy
from xpcnn.backend._registry import _OPENERS, Backend, register_backend
from xpcnn.errors import BackendError


@register_backend("numpy")
def _numpy() -> Backend:
    return Backend("numpy", np, np.ndarray, upload=np.asarray, download=np.asarray)


@register_backend("cupy")
def _cupy() -> Backend:
    why_not = probe_cupy()
    if why_not is not None:
        raise BackendError(f"backend cupy cannot run here: {why_not}")
    import cupy

    def select(device: int) -> int:
        previous: int = cupy.cuda.runtime.getDevice()
        if device != previous:
            _check_number("cupy", device, cupy.cuda.runtime.getDeviceCount())
            cupy.cuda.runtime.setDevice(device)
        return previous

    return _on_device("cupy", cupy, select)


@register_backend("simulated")
def _simulated() -> Backend:
    from xpcnn import simulated
    from xpcnn.simulated.guard import DEVICES, select_device
    from xpcnn.simulated.judge import why_no_judge

    why_not = why_no_judge()
    if why_not is not None:
        raise BackendError(f"backend simulated cannot run here: {why_not}")

    def select(device: int) -> int:
        _check_number("simulated", device, DEVICES)
        return select_device(device)

    return _on_device("simulated", simulated.stand_in, select)


def _check_number(name: str, device: int, count: int) -> None:
    if device >= count:
        devices = f"there {'is 1 device' if count == 1 else f'are {count} devices'}, numbered from 0"
        raise BackendError(
            f"backend {name}:{device} cannot run here: {devices}; write one of: "
            + ", ".join(f"{name}:{number}" for number in range(count))
        )


def _on_device(name: str, module: Any, select: Callable[[int], int]) -> Backend:
    """Return a backend whose arrays are on a device, with CuPy's names for what crosses to it."""
    return Backend(
        name=name,
        module=module,
        ndarray=module.ndarray,
        upload=module.asarray,
        download=module.asnumpy,
        synchronize=lambda: module.cuda.get_current_stream().synchronize(),
        asynchronous=True,
        select=select,
    )


@register_backend("auto")
def _auto() -> Backend:
    why_not = probe_cupy()
    chosen = _OPENERS["numpy" if why_not else "cupy"]()
    print(f"xpcnn: backend {chosen.name}" + (f" ({why_not})" if why_not else ""), file=sys.stderr)
    return chosen
