"""Which machine computes: `xp` is NumPy or CuPy, chosen when the program starts or with one call.

`np` always means the host, `xp` the active device; arrays cross between the two in `to_device` and
`to_host` only. The active backend belongs to its context: every thread and every asyncio task has its own. One that
chose none computes on the process's default, which `set_backend` sets and which the environment variable XPCNN_BACKEND
(default "numpy") is until then. XPCNN_KERNELS=reference turns every substitute kernel off, "pure" what Numba compiles.
"""

import functools
import importlib.metadata
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, cast

import numpy as np

from xpcnn import kernels as substitution
from xpcnn.errors import BackendError, DtypeError, KernelError
from xpcnn.kernels.fused import renewed
from xpcnn.probe import probe_cupy

Array: TypeAlias = Any
"""An array of the active backend: numpy.ndarray, cupy.ndarray or simulated.ndarray."""

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


@dataclass(frozen=True)
class Backend:
    """One array library, and what differs from one to the next."""

    name: str
    module: ModuleType
    ndarray: type
    upload: Callable[[Any], Array]
    download: Callable[[Array], np.ndarray]
    synchronize: Callable[[], None] = lambda: None
    asynchronous: bool = False
    """Work is queued: reading a value waits for the device."""
    kernels: dict[str, Callable[..., Any]] = field(default_factory=dict)
    """Substitutes by the name of their op; those of `xpcnn.kernels` join them when the backend is opened."""
    remark: str = ""
    """What to know of it: how many threads, or why it is not all that it could be."""
    select: Callable[[int], int] | None = None
    """Makes the device of this number the calling thread's, and returns the previous one's; None with one device."""
    device: int | None = None
    """The number of the device, if it was asked for."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernels", renewed(self.kernels))


Opener: TypeAlias = Callable[[], Backend]

_OPENERS: dict[str, Opener] = {}
NAMES = _OPENERS.keys()
"""The names of all registered backends, and "auto"."""

_chosen: ContextVar[Backend | None] = ContextVar("xpcnn.backend", default=None)
_default: Backend | None = None
_opened: dict[tuple[str, str], Backend] = {}
_opening = threading.RLock()
"""Held while a backend is opened, so that two threads open one once."""


# ---------------------------------------------------------------- registration


def register_backend(name: str) -> Callable[[Opener], Opener]:
    """Register the function below as the opener of backend `name`: it returns a `Backend`, or raises BackendError.

    It is called when the backend is first asked for. A package that has an entry point `name` in the group
    "xpcnn.backends" is imported by then, so that ``XPCNN_BACKEND=name`` and ``--backend name`` find it.

    Raises
    ------
    BackendError
        For a name that is taken, or that is not made of lower-case letters, digits, "_" and "-".

    Examples
    --------
    >>> @register_backend("mine")
    ... def open_mine():
    ...     return Backend("mine", np, np.ndarray, upload=np.asarray, download=np.asarray)
    >>> with use_backend("mine"):
    ...     print(xp)
    <xp: mine>
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise BackendError(
            f'register_backend: expected a name of lower-case letters, digits, "_" and "-", got {name!r}; rename it'
        )

    def register(opener: Opener) -> Opener:
        known = _OPENERS.get(name, opener)
        if (known.__module__, known.__qualname__) != (opener.__module__, opener.__qualname__):
            raise BackendError(
                f"register_backend: {name!r} is taken by {known.__module__}.{known.__qualname__}; pass another name"
            )
        with _opening:
            _OPENERS[name] = opener
            for key in [key for key in _opened if key[0].partition(":")[0] == name]:
                del _opened[key]  # defined once more, as in a notebook
        return opener

    return register


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


def is_backend(name: str) -> bool:
    """Tell whether `name` is registered, alone or with a device's number behind it as in "cupy:1"."""
    kind, colon, number = name.partition(":")
    if kind not in _OPENERS:
        for entry in importlib.metadata.entry_points(group="xpcnn.backends", name=kind):
            entry.load()
    return kind in _OPENERS and (not colon or number.isdecimal())


def _open(name: str, choice: str | None) -> Backend:
    """Return a backend with its kernels, opened when they are first asked for."""
    kind, colon, number = name.partition(":")
    choice = substitution.chosen(choice)
    with _opening:
        if (name, choice) in _opened:
            return _opened[name, choice]
        if not is_backend(name):
            raise BackendError(
                f"backend {name!r} is unknown; set XPCNN_BACKEND to one of: {', '.join(NAMES)}; or to cupy:1, say, "
                "for the second GPU"
            )
        opened = _OPENERS[kind]()
        if not isinstance(opened, Backend):
            raise BackendError(
                f"backend {name}: its opener returned {type(opened).__name__}; return an xpcnn.backend.Backend"
            )
        if colon:
            opened = _of_number(opened, int(number))
        _opened[name, choice] = opened = _with_kernels(opened, choice)
        return opened


def _of_number(backend: Backend, device: int) -> Backend:
    if backend.select is None:
        raise BackendError(
            f"backend {backend.name}:{device} cannot run here: {backend.name} has one device; write {backend.name}"
        )
    backend.select(backend.select(device))  # there is one of this number; the current one stays current
    return replace(backend, name=f"{backend.name}:{device}", device=device)


def _with_kernels(backend: Backend, choice: str) -> Backend:
    kind, remark = backend.name.partition(":")[0], backend.remark
    if choice == "reference":
        return replace(backend, kernels={})
    try:
        substitutes = substitution.load(kind, choice)
        remark = remark or (substitution.remark(kind, choice) if substitutes else "")
    except (
        KernelError
    ) as error:  # no compiler for the simulated device: its arrays are as strict without kernels
        substitutes, remark = {}, f"it runs the reference ops: {error}"
        print(f"xpcnn: backend {backend.name}: {remark}", file=sys.stderr)
    return replace(backend, kernels=backend.kernels | substitutes, remark=remark)


# ---------------------------------------------------------------- choosing


def active_backend() -> Backend:
    """Return this context's backend, or, if it chose none, the process's default.

    While nobody called `set_backend` that is the backend which XPCNN_BACKEND names when it is first asked for.
    """
    backend = _chosen.get() or _default or _from_environment()
    if backend.device is not None and backend.select is not None:
        backend.select(backend.device)
    return backend


def _from_environment() -> Backend:
    global _default
    with _opening:
        _default = _default or _open(os.environ.get("XPCNN_BACKEND") or "numpy", None)
        return _default


def set_backend(name: str, kernels: str | None = None) -> Backend:
    """Make `name` the active backend, in this context and wherever none was chosen, as in a new thread.

    Parameters
    ----------
    name : str
        "numpy", "cupy", "simulated", another that is registered, or "auto" (CuPy where it works, and it says which).
        "cupy:1" is the second GPU; plain "cupy" the one that CuPy has as its current device.
    kernels : "tuned", "pure" or "reference"
        All substitutes for the ops that are installed, those without what Numba compiles, or none: the textbook's ops.
        None is XPCNN_KERNELS, and "tuned" if that is not set.

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
    global _default
    opened = _open(name, kernels)
    _default = opened
    _chosen.set(opened)
    return active_backend()


@contextmanager
def use_backend(name: str | Backend, kernels: str | None = None) -> Iterator[Backend]:
    """Make `name` the active backend inside a ``with`` block, in this thread or asyncio task alone.

    At the block's end this context is as it was before. A task that is started inside the block begins with its
    backend; a thread begins with the process's default, so give it a block of its own.

    Parameters
    ----------
    name : str or Backend
        As for `set_backend`. Or a `Backend`, for example
        ``dataclasses.replace(active_backend(), kernels={"relu": my_relu})``; it is taken as it is.
    kernels : "tuned", "pure" or "reference"
        As for `set_backend`.

    Raises
    ------
    BackendError
        As `set_backend`, and at the block's end if that is reached in another context, which the block never changed.
    """
    if isinstance(name, Backend):
        opened = name if kernels is None else _with_kernels(name, substitution.chosen(kernels))
    else:
        opened = _open(name, kernels)
    restore = opened.select(opened.device) if opened.select and opened.device is not None else None
    token = _chosen.set(opened)
    try:
        yield opened
    finally:
        try:
            _chosen.reset(token)
        except ValueError:
            raise BackendError(
                f"use_backend({opened.name!r}): the block began in another thread or task than it ends in; put the "
                "whole of it into one"
            ) from None
        finally:
            if restore is not None and opened.select:
                opened.select(restore)


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
