"""Which machine computes: `xp` is NumPy or CuPy, chosen when the program starts or with one call.

`np` always means the host, `xp` the active device; arrays cross between the two in `to_device` and
`to_host` only. The choice is the environment variable XPCNN_BACKEND (default "numpy") until
`set_backend` or `use_backend` is called. XPCNN_KERNELS=reference turns every substitute kernel off, "pure" what
Numba compiles.
"""

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, cast

import numpy as np

from xpcnn.errors import BackendError, DtypeError, KernelError
from xpcnn.probe import probe_cupy

Array: TypeAlias = Any
"""An array of the active backend: numpy.ndarray, cupy.ndarray or simulated.ndarray."""

P = ParamSpec("P")
R = TypeVar("R", covariant=True)

NAMES = ("numpy", "cupy", "simulated", "auto")


@dataclass(frozen=True)
class Backend:
    """One array library, and what differs from one to the next."""

    name: str
    module: ModuleType
    ndarray: type
    upload: Callable[[Any], Array]
    download: Callable[[Array], np.ndarray]
    synchronize: Callable[[], None]
    asynchronous: bool
    """Work is queued: reading a value waits for the device."""
    kernels: dict[str, Callable[..., Any]] = field(default_factory=dict)
    remark: str = ""
    """What to know of it: how many threads, or why it is not all that it could be."""


def _numpy() -> Backend:
    from xpcnn import kernels

    substitutes = kernels.load("numpy")
    return Backend(
        name="numpy",
        module=np,
        ndarray=np.ndarray,
        upload=np.asarray,
        download=np.asarray,
        synchronize=lambda: None,
        asynchronous=False,
        kernels=substitutes,
        remark=kernels.remark("numpy") if substitutes else "",
    )


def _cupy() -> Backend:
    from xpcnn import kernels

    why_not = probe_cupy()
    if why_not is not None:
        raise BackendError(f"backend cupy cannot run here: {why_not}")
    import cupy

    return _on_device("cupy", cupy, kernels.load("cupy"))


def _simulated() -> Backend:
    from xpcnn import kernels, simulated
    from xpcnn.simulated.judge import why_no_judge

    why_not = why_no_judge()
    if why_not is not None:
        raise BackendError(f"backend simulated cannot run here: {why_not}")
    remark, substitutes = "", {}
    try:
        substitutes = kernels.load("simulated")
        remark = kernels.remark("simulated")
    except KernelError as error:  # no compiler: the arrays are as strict without kernels
        remark = f"it runs the reference ops: {error}"
        print(f"xpcnn: backend simulated: {remark}", file=sys.stderr)
    return _on_device("simulated", simulated.stand_in, substitutes, remark)


def _on_device(
    name: str, module: Any, substitutes: dict[str, Callable[..., Any]], remark: str = ""
) -> Backend:
    """Return a backend whose arrays lie on a device, with CuPy's names for what crosses to it."""
    return Backend(
        name=name,
        module=module,
        ndarray=module.ndarray,
        upload=module.asarray,
        download=module.asnumpy,
        synchronize=lambda: module.cuda.get_current_stream().synchronize(),
        asynchronous=True,
        kernels=substitutes,
        remark=remark,
    )


def _auto() -> Backend:
    why_not = probe_cupy()
    chosen = _open("numpy" if why_not else "cupy")
    print(f"xpcnn: backend {chosen.name}" + (f" ({why_not})" if why_not else ""), file=sys.stderr)
    return chosen


_OPENERS: dict[str, Callable[[], Backend]] = {
    "numpy": _numpy, "cupy": _cupy, "simulated": _simulated, "auto": _auto,
}  # fmt: skip
_active: Backend | None = None


@functools.cache
def _open(name: str) -> Backend:
    if name not in _OPENERS:
        raise BackendError(f"backend {name!r} is unknown; set XPCNN_BACKEND to one of: {', '.join(NAMES)}")
    return _OPENERS[name]()


def active_backend() -> Backend:
    """Return the active backend, opening the one that XPCNN_BACKEND names when it is first asked for."""
    return _active or set_backend(os.environ.get("XPCNN_BACKEND") or "numpy")


def set_backend(name: str) -> Backend:
    """Make `name` the active backend: "numpy", "cupy", "simulated", or "auto" (CuPy where it works, and it says which).

    Raises
    ------
    BackendError
        If that backend cannot run here: why, and the command that repairs it. There is no fall-back.
        The backend that was active stays so.

    Examples
    --------
    >>> set_backend("numpy").name
    'numpy'
    """
    global _active
    _active = _open(name)
    return _active


@contextmanager
def use_backend(name: str, *, reference: bool = False, pure: bool = False) -> Iterator[Backend]:
    """Make `name` the active backend inside a ``with`` block, and restore the former one at its end.

    With `reference` it runs the ops of the textbook, without its kernels; with `pure` none that Numba compiles.
    """
    from xpcnn import kernels

    global _active
    former = _active
    try:
        opened = set_backend(name)
        if reference or pure:
            chosen = {} if reference else kernels.load(opened.name, "pure")
            opened = _active = replace(opened, kernels=chosen)
        yield opened
    finally:
        _active = former


class _ActiveModule:
    """Forwards every name to the active array module, so ``from xpcnn.backend import xp`` never goes stale."""

    def __getattr__(self, name: str) -> Any:
        return getattr(active_backend().module, name)

    def __repr__(self) -> str:
        return f"<xp: {active_backend().name}>"


xp: Any = _ActiveModule()


def to_device(array: Any) -> Array:
    """Return an array on the active device: a copy if that is another memory, the array itself if it is there.

    Raises
    ------
    BackendError
        If the array lives on a device that is not the active one.
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
    """Wait until the device has finished all that it was given."""
    active_backend().synchronize()


def check_array(array: Any, who: object) -> None:
    """Raise unless `array` is an array of the active backend; the message holds the call that mends it."""
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
    mend = "to_device(x)" if isinstance(array, np.ndarray) else "to_device(to_host(x))"
    return (
        f"{who}: got a {owner} array, but the active backend is {backend.name}; "
        f"pass {mend}, or call set_backend({owner!r}) first"
    )


class Substitutable(Protocol[P, R]):
    """An op that the active backend may run by a kernel of its own; the textbook's stays in `__wrapped__`."""

    __name__: str
    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...


def accelerated(reference: Callable[P, R]) -> Substitutable[P, R]:
    """Let the active backend put its own kernel of the same name in place of this one."""
    name = reference.__name__

    @functools.wraps(reference)
    def dispatch(*args: P.args, **kwargs: P.kwargs) -> R:
        return cast(R, active_backend().kernels.get(name, reference)(*args, **kwargs))

    return cast(Substitutable[P, R], dispatch)
