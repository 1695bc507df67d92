"""The dtype ledger: the first operation that makes a floating dtype other than the allowed ones is an error."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeAlias

import numpy as np

from xpcnn.errors import DtypeError
from xpcnn.simulated.call_site import call_site
from xpcnn.simulated.events import DType, Listener, listening

Hook: TypeAlias = Callable[[str, Any, str, Any], None]


class PolicyError(DtypeError):
    """An array whose dtype the policy does not allow."""


class _Policy(Listener):
    def __init__(self, allowed: tuple[str, ...]) -> None:
        self.made: dict[str, int] = {}
        self.allowed, self.inside = allowed, ["outside of any layer"]

    def see(self, call: str, dtype: DType) -> None:
        self.made[dtype.name] = self.made.get(dtype.name, 0) + 1
        if np.issubdtype(dtype, np.inexact) and dtype.name not in self.allowed:
            raise PolicyError(
                f"{call} made {dtype.name} at {call_site()}, {self.inside[-1]}; allowed: {', '.join(self.allowed)}. "
                "Pass x.dtype to functions that make an array, and Python's numbers in place of NumPy's"
            )

    def enter(self, name: str, layer: Any, direction: str, value: Any) -> None:
        self.inside.append(f"in layer {name or 'model'!r} ({layer}), {direction}")

    def leave(self, name: str, layer: Any, direction: str, value: Any) -> None:
        self.inside.pop()


@contextmanager
def dtype_ledger(
    traced: Callable[[Hook, Hook], AbstractContextManager[None]] | None = None,
    allowed: tuple[str, ...] = ("float32",),
) -> Iterator[dict[str, int]]:
    """Inside the ``with`` block no operation may make a floating array of another dtype than `allowed`.

    Parameters
    ----------
    traced : function of (enter, leave)
        Gives the error the layer's name: ``functools.partial(xpcnn.debug.tracing.traced, model)``.
    allowed : names of dtypes
        Integers and booleans always are.

    Yields
    ------
    dict
        How many arrays were made of each dtype.

    Raises
    ------
    PolicyError
        At the operation, with the layer, the direction and the line.

    Examples
    --------
    >>> from xpcnn.simulated import ndarray
    >>> x = ndarray(np.ones(3, np.float32))
    >>> with dtype_ledger() as made:
    ...     y = (x * 2 > 1) * x
    >>> made
    {'float32': 2, 'bool': 1}
    >>> with dtype_ledger():
    ...     x * np.float64(2)
    Traceback (most recent call last):
    xpcnn.simulated.dtypes.PolicyError: multiply made float64 at ..., outside of any layer; allowed: float32...
    """
    policy = _Policy(allowed)
    with listening(policy), traced(policy.enter, policy.leave) if traced else nullcontext():
        yield policy.made
