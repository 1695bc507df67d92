"""The methods of an array, on its host values; arguments have been checked against CuPy's signature before."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from xpcnn.simulated.events import CUBLAS, MASK, emit, forbid
from xpcnn.simulated.guard import Host
from xpcnn.simulated.indexing import ATOMIC, WRAPS, OrderError, refuse_repeated


class Method(NamedTuple):
    """What a method does, and whether its result keeps the memory order of its input."""

    run: Callable[..., Any]
    keeps_order: bool = False


class Pointer(NamedTuple):
    """An address on the device, and the bytes from there on."""

    ptr: int
    size: int


class Flags:
    """Memory order; ``flags["C_CONTIGUOUS"]`` is ``flags.c_contiguous``."""

    def __init__(self, host: Host) -> None:
        self.c_contiguous, self.f_contiguous = host.flags.c_contiguous, host.flags.f_contiguous
        self.owndata = host.flags.owndata

    def __getitem__(self, name: str) -> bool:
        return bool(getattr(self, name.lower()))

    def __repr__(self) -> str:
        return "\n".join(f"  {name.upper()} : {value}" for name, value in vars(self).items())


def argmax(a: Host, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """NumPy's, with CuPy's dtype."""
    return _cast(a.argmax(axis, out, keepdims=keepdims), dtype)


def argmin(a: Host, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """NumPy's, with CuPy's dtype."""
    return _cast(a.argmin(axis, out, keepdims=keepdims), dtype)


def astype(
    a: Host, dtype: Any, order: Any = "K", casting: Any = None, subok: Any = None, copy: bool = True
) -> Host:
    """Return a conversion; the array itself with copy=False where there is nothing to convert."""
    return a.astype(dtype, order, casting or "unsafe", copy=copy)


def prod(a: Host, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = None) -> Any:
    """NumPy's; CuPy's default of keepdims is None."""
    return a.prod(axis, dtype, out, keepdims=bool(keepdims))


def view(a: Host, dtype: Any = None, type: Any = None) -> Host:
    """Return the same memory under another dtype."""
    return a.view() if dtype is None else a.view(dtype)


def take(a: Host, indices: Any, axis: Any = None, out: Any = None) -> Any:
    """Return the elements at `indices`, which must be in range."""
    try:
        return a.take(indices, axis, out)
    except IndexError as error:
        raise IndexError(f"take: {error}; {WRAPS}") from None


def put(a: Host, indices: Any, values: Any, mode: str = "wrap") -> None:
    """Write values at flat indices, which must be in range and differ."""
    try:
        np.arange(a.size).take(indices)
    except IndexError as error:
        raise IndexError(f"put: {error}; {WRAPS}") from None
    refuse_repeated(np.asarray(indices) % a.size, "put")
    a.put(indices, values)


def dot(a: Host, b: Any, out: Any = None) -> Any:
    """Return the matrix product, by cuBLAS."""
    forbid("dot", CUBLAS)
    return np.dot(a, b, out)


def nonzero(a: Host) -> Any:
    """Return where a is not zero; the device alone knows how many places these are."""
    emit("synchronisation", "nonzero", why=MASK)
    return a.nonzero()


def compress(a: Host, condition: Any, axis: Any = None, out: Any = None) -> Any:
    """Return the slices where condition holds, which waits."""
    emit("synchronisation", "compress", why=MASK)
    return a.compress(condition, axis, out)


def _cast(result: Any, dtype: Any) -> Any:
    return result if dtype is None else np.asarray(result).astype(dtype)


def scatter_add(a: Host, slices: Any, value: Any) -> None:
    """Add whole numbers into places that may come twice; a GPU does it by atomics, in an order of its own.

    Raises
    ------
    OrderError
        For floating numbers: where a place comes twice, every run may round to another sum.
    """
    if a.dtype.kind in "fc":
        raise OrderError(f"scatter_add: {ATOMIC}; where no index comes twice, write x[i] += y")
    np.add.at(a, slices, value)


def _extreme(ufunc: np.ufunc) -> Callable[..., None]:
    def scatter(a: Host, slices: Any, value: Any) -> None:
        ufunc.at(a, slices, value)

    return scatter


def _same(name: str) -> Callable[..., Any]:
    return lambda a, *args, **kwargs: getattr(a, name)(*args, **kwargs)


AS_NUMPY = (
    "all", "any", "argpartition", "argsort", "byteswap", "clip", "conj", "conjugate", "cumprod", "cumsum", "diagonal",
    "fill", "max", "mean", "min", "partition", "repeat", "round", "searchsorted", "sort", "squeeze", "std", "sum",
    "swapaxes", "trace", "transpose", "var",
)  # fmt: skip
AS_NUMPY_IN_ORDER = ("copy", "flatten", "ravel", "reshape")  # which have an argument `order`

METHODS: dict[str, Method] = {
    **{name: Method(_same(name)) for name in AS_NUMPY},
    **{name: Method(_same(name), keeps_order=True) for name in AS_NUMPY_IN_ORDER},
    "argmax": Method(argmax),
    "argmin": Method(argmin),
    "astype": Method(astype, keeps_order=True),
    "compress": Method(compress),
    "dot": Method(dot),
    "nonzero": Method(nonzero),
    "prod": Method(prod),
    "ptp": Method(np.ptp),
    "put": Method(put),
    "scatter_add": Method(scatter_add),
    "scatter_max": Method(_extreme(np.maximum)),
    "scatter_min": Method(_extreme(np.minimum)),
    "take": Method(take),
    "view": Method(view, keeps_order=True),
}
"""By name; what cupy.ndarray has and is not here is not simulated."""
