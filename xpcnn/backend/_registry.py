"""Backends by name: what one is, how one is registered, and how it is opened with its kernels."""

import importlib.metadata
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from xpcnn import kernels as substitution
from xpcnn.errors import BackendError, KernelError
from xpcnn.kernels.fused import renewed
from xpcnn.kernels.registry import check_names

Array: TypeAlias = Any
"""An array of the active backend: numpy.ndarray, cupy.ndarray or simulated.ndarray."""


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
        check_names(self.kernels, f"Backend {self.name}")
        object.__setattr__(self, "kernels", renewed(self.kernels))


Opener: TypeAlias = Callable[[], Backend]

_OPENERS: dict[str, Opener] = {}
NAMES = _OPENERS.keys()
"""The names of all registered backends, and "auto"."""
_opened: dict[tuple[str, str], Backend] = {}
_opening = threading.RLock()
"""Held while a backend is opened, so that two threads open one once."""


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
    >>> from xpcnn.backend import use_backend, xp
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
