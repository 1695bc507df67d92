"""The active backend of this context: chosen, asked for, and what dispatches to it."""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from xpcnn import kernels as substitution
from xpcnn.backend._registry import Backend, _open, _opening, _with_kernels
from xpcnn.errors import BackendError
from xpcnn.kernels.registry import OPS

P = ParamSpec("P")
R = TypeVar("R", covariant=True)

_chosen: ContextVar[Backend | None] = ContextVar("xpcnn.backend", default=None)
_default: Backend | None = None


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


class Substitutable(Protocol[P, R]):
    """An op that the active backend may run by a kernel of its own; the textbook's stays in `__wrapped__`."""

    __name__: str
    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...


def accelerated(reference: Callable[P, R]) -> Substitutable[P, R]:
    """Let the active backend put its own kernel of the same name in place of this one."""
    name = reference.__name__
    OPS.add(name)

    @functools.wraps(reference)
    def dispatch(*args: P.args, **kwargs: P.kwargs) -> R:
        return cast(R, active_backend().kernels.get(name, reference)(*args, **kwargs))

    return cast(Substitutable[P, R], dispatch)
