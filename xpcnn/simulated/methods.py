"""The methods of an array, on its host values, by name: what cupy.ndarray has and is not here is not simulated."""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpcnn.simulated.guard import Host
from xpcnn.simulated.indexing import ATOMIC, OrderError, refuse_repeated

AS_NUMPY = ( "all", "any", "argpartition", "argsort", "byteswap", "clip", "compress", "conj", "conjugate", "copy",
"cumprod", "cumsum", "diagonal", "dot", "fill", "flatten", "max", "mean", "min", "nonzero", "partition", "ravel",
"repeat", "reshape", "round", "searchsorted", "sort", "squeeze", "std", "sum", "swapaxes", "take", "trace",
"transpose", "var", )  # fmt: skip


def _extreme(name: str) -> Callable[..., Any]:
    """Return argmax or argmin, which has another argument in CuPy: the result's dtype."""

    def extreme(a: Host, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
        result = getattr(a, name)(axis, out, keepdims=keepdims)
        return result if dtype is None else np.asarray(result).astype(dtype)

    return extreme


def _astype(
    a: Host, dtype: Any, order: Any = "K", casting: Any = None, subok: Any = None, copy: bool = True
) -> Host:
    return a.astype(dtype, order, casting or "unsafe", copy=copy)


def _prod(a: Host, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = None) -> Any:
    return a.prod(axis, dtype, out, keepdims=bool(keepdims))


def _view(a: Host, dtype: Any = None, type: Any = None) -> Host:
    return a.view() if dtype is None else a.view(dtype)


def _put(a: Host, indices: Any, values: Any, mode: str = "wrap") -> None:
    np.arange(a.size).take(indices)  # an IndexError where CuPy would wrap around
    refuse_repeated(np.asarray(indices) % a.size, "put")
    a.put(indices, values)


def _scatter(ufunc: np.ufunc) -> Callable[..., None]:
    """Return a sum or an extreme into places that may come twice; a GPU does it by atomics, in an order of its own."""

    def scatter(a: Host, slices: Any, value: Any) -> None:
        if ufunc is np.add and a.dtype.kind in "fc":
            raise OrderError(f"scatter_add: {ATOMIC}; where no index comes twice, write x[i] += y")
        ufunc.at(a, slices, value)

    return scatter


METHODS: dict[str, Callable[..., Any]] = {
    **{name: getattr(np.ndarray, name) for name in AS_NUMPY},
    **{name: _extreme(name) for name in ("argmax", "argmin")},
    "astype": _astype,
    "prod": _prod,
    "ptp": np.ptp,
    "put": _put,
    "scatter_add": _scatter(np.add),
    "scatter_max": _scatter(np.maximum),
    "scatter_min": _scatter(np.minimum),
    "view": _view,
}
