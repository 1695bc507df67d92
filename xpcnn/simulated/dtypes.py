"""The dtype ledger: nothing silently becomes float64, or whoever made it so is named."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias

import numpy as np

from xpcnn.errors import DtypeError
from xpcnn.simulated.call_site import call_site
from xpcnn.simulated.events import DType, listening

Hook: TypeAlias = Callable[[str, Any, str, Any], None]


class PolicyError(DtypeError):
    """An array whose dtype the policy does not allow."""


@contextmanager
def dtype_ledger(
    traced: Callable[[Hook, Hook], AbstractContextManager[None]] | None = None,
    allowed: tuple[str, ...] = ("float32",),
) -> Iterator[dict[str, int]]:
    """Inside the ``with`` block no operation may make a floating array of another dtype than `allowed`.

    Parameters
    ----------
    traced : function of (enter, leave)
        What names the layers in the error: ``functools.partial(xpcnn.debug.tracing.traced, model)``.
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
    made: dict[str, int] = {}
    inside: list[str] = []

    def watch(call: str, dtype: DType) -> None:
        made[dtype.name] = made.get(dtype.name, 0) + 1
        if np.issubdtype(dtype, np.inexact) and dtype.name not in allowed:
            where = f"in {inside[-1]}" if inside else "outside of any layer"
            raise PolicyError(
                f"{call} made {dtype.name} at {call_site()}, {where}; allowed: {', '.join(allowed)}. Pass x.dtype to "
                "functions that make an array, and Python's numbers in place of NumPy's"
            )

    def enter(name: str, layer: Any, direction: str, value: Any) -> None:
        inside.append(f"layer {name or 'model'!r} ({layer}), {direction}")

    def leave(name: str, layer: Any, direction: str, value: Any) -> None:
        inside.pop()

    with listening(watcher=watch):
        if traced is None:
            yield made
        else:
            with traced(enter, leave):
                yield made
