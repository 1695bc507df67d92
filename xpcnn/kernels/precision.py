"""Half precision is for storage: whatever adds, multiplies or divides does so in single, and rounds once at the end.

A sum in half stops at 2,048 ones, overflows at 65,504, and an eps of 1e-8 is zero in it. So ops and kernels take
float16 arrays, compute in float32, and return float16: what a GPU's kernels and PyTorch do.
"""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

HALF, SINGLE = np.dtype("float16"), np.dtype("float32")


def computing(dtype: Any) -> Any:
    """Return the dtype in which numbers of `dtype` are added up: float32 for float16, else the same.

    >>> computing(np.dtype("float16")), computing(np.dtype("float64"))
    (dtype('float32'), dtype('float64'))
    """
    return SINGLE if dtype == HALF else dtype


def in_single(op: Callable[P, R]) -> Callable[P, R]:
    """Let an op that is given float16 arrays compute in float32, and round its floating results to float16.

    Its first argument says whether it is in half. An op that returns nothing writes into its arguments: then these are
    rounded.

    >>> def total(x):
    ...     return x.cumsum()[-1]
    >>> float(total(np.ones(5000, np.float16))), float(in_single(total)(np.ones(5000, np.float16)))
    (2048.0, 5000.0)
    """

    @functools.wraps(op)
    def rounded_once(*args: P.args, **kwargs: P.kwargs) -> R:
        if not _is_half(args[0] if args else next(iter(kwargs.values()), None)):
            return op(*args, **kwargs)
        wide_args: Any = [_widened(value) for value in args]
        wide_kwargs: Any = {name: _widened(value) for name, value in kwargs.items()}
        result = op(*wide_args, **wide_kwargs)
        if result is None:
            given = [*args, *kwargs.values()]
            for value, wide in zip(given, [*wide_args, *wide_kwargs.values()], strict=True):
                if value is not wide:
                    value[...] = wide  # type: ignore[index]
        rounded: Any = tuple(map(_rounded, result)) if isinstance(result, tuple) else _rounded(result)
        return rounded  # type: ignore[no-any-return]

    return rounded_once


def _is_half(value: Any) -> bool:
    return getattr(value, "dtype", SINGLE) == HALF


def _widened(value: Any) -> Any:
    return value.astype(SINGLE) if _is_half(value) else value


def _rounded(result: Any) -> Any:
    return result.astype(HALF) if getattr(result, "dtype", HALF) == SINGLE else result
