"""Where ops and their substitutes are registered: each above the function itself, so that no list can forget one."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from xpcnn.errors import BackendError
from xpcnn.kernels.precision import in_single

Function = TypeVar("Function", bound=Callable[..., Any])

OPS: set[str] = set()
"""The names of all ops: `xpcnn.backend.accelerated` adds that of each function it decorates."""

_SUBSTITUTES: dict[str, dict[str, Callable[..., Any]]] = {}


def substitute(kind: str, widen: bool = True) -> Callable[[Function], Function]:
    """Register the function below as the substitute of this kind for the op that has its name.

    A kind is what a backend's substitutes are written in: "plain" NumPy, "compiled" by Numba, ... With `widen`, arrays
    in half precision are computed in single, see `xpcnn.kernels.precision.in_single`.

    Raises
    ------
    BackendError
        If there is no op of that name, or if it has another substitute of this kind.
    """

    def register(function: Function) -> Function:
        function = cast(Function, in_single(function)) if widen else function
        name, where = function.__name__, (function.__module__, function.__qualname__)
        if name not in OPS:
            raise BackendError(
                f"substitute {'.'.join(where)}: there is no op {name!r}; give it the name of the op that it replaces"
            )
        known = _SUBSTITUTES.setdefault(kind, {}).get(name, function)
        if (known.__module__, known.__qualname__) != where:
            raise BackendError(
                f"substitute {'.'.join(where)}: {known.__module__} has a {kind} one for {name!r}; remove one of them"
            )
        _SUBSTITUTES[kind][name] = function
        return function

    return register


def registered(kind: str) -> dict[str, Callable[..., Any]]:
    """Return the substitutes of a kind by the names of their ops: those whose modules are imported."""
    return dict(_SUBSTITUTES.get(kind, {}))


def check_names(kernels: dict[str, Any], owner: str) -> None:
    """Refuse kernels that no op would ever call.

    Raises
    ------
    BackendError
        If a name is not that of an op.
    """
    if unknown := sorted(kernels.keys() - OPS):
        raise BackendError(
            f"{owner}: there is no op {unknown[0]!r} that this kernel could replace; use a name of xpcnn.ops"
        )
