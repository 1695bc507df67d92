"""A call of CuPy's, computed by NumPy: what is checked before, and what the device would give.

Functions and the methods of an array take the same way: the arguments bind CuPy's signature, host arrays are refused,
what waits or needs cuBLAS is announced, and a result is an array of the device.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpcnn.simulated import judge
from xpcnn.simulated.events import CUBLAS, MASK, emit, emit_dtype, forbid
from xpcnn.simulated.guard import (
    Host,
    OnDevice,
    arrays_in,
    numbers_in,
    refuse_keywords,
    refuse_sequence,
    to_hosts,
)
from xpcnn.simulated.indexing import ATOMIC, OrderError, in_range, refuse_repeated
from xpcnn.simulated.launches import launched
from xpcnn.simulated.memory import allocated

WAITS = {
    "argwhere", "bincount", "compress", "extract", "flatnonzero", "histogram", "histogram2d", "histogramdd",
    "intersect1d", "isin", "mask_indices", "nanmax", "nanmin", "nonzero", "place", "setdiff1d", "setxor1d",
    "trim_zeros", "union1d", "unique", "unique_all", "unique_counts", "unique_inverse", "unique_values",
    "unravel_index",
}  # fmt: skip
"""Functions of CuPy that read a value from the device."""

COUNTS = {"bincount", "histogram", "histogram2d", "histogramdd"}
"""Functions of CuPy that add up `weights` by atomics."""

PRODUCTS = {"dot", "einsum", "inner", "kron", "matmul", "tensordot", "vdot"}
"""Functions that CuPy computes by cuBLAS."""

ANSWER_ON_DEVICE = {"allclose", "array_equal", "array_equiv"}
"""Functions that give True or False in NumPy, and an array without axes in CuPy."""

KEEPS_ORDER = {"asfortranarray", "astype", "copy", "flatten", "pad", "ravel", "require", "reshape", "view"}
"""Functions whose result may have another memory order than C."""

FIRST_IS_ARRAY = {"a", "x", "arr", "array", "ar", "m", "v", "filt", "a1", "condition"}
"""CuPy's names for a first argument that has to be an array."""

KEYWORDS = {"einsum": {"dtype", "optimize"}, "meshgrid": {"copy", "indexing", "sparse"}}
"""The keywords of functions whose signature says ``**kwargs``."""


def computed(path: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the result of CuPy's `path` ("sum", "linalg.norm", "ndarray.sum"), which `function` computes on the host.

    A TypeError for arguments that CuPy's signature does not take, for host arrays and for lists in place of an array.
    """
    judge.bind(path, args, kwargs)
    name, signature = path.rpartition(".")[2], judge.signature(path)
    if name in KEYWORDS:
        refuse_keywords(name, kwargs, KEYWORDS[name])
    if args and signature is not None and next(iter(signature.parameters), None) in FIRST_IS_ARRAY:
        refuse_sequence(args[0], name)
    hosts, hosts_by_name = to_hosts(args, name), to_hosts(kwargs, name)
    by_an_array = name == "repeat" and bool(arrays_in(args[1:2]))
    if name in WAITS or by_an_array or (name == "where" and len(args) == 1):
        emit("synchronisation", name, why=MASK)
    if name in PRODUCTS or path.startswith("linalg."):
        forbid(name, CUBLAS)
    if name == "put_along_axis":
        _refuse_repeated_along(*hosts, **hosts_by_name)
    if name in COUNTS and signature is not None:
        weights = signature.bind(*args, **kwargs).arguments.get("weights")
        if isinstance(weights, OnDevice) and weights._host.dtype.kind in "fc":
            raise OrderError(f"{name} with weights: {ATOMIC}")
    with in_range(name), np.errstate(all="ignore"):  # CuPy never warns of an overflow
        result = function(*hosts, **hosts_by_name)
    if name in ANSWER_ON_DEVICE:
        result = np.bool_(result)
    keeps_order = name in KEEPS_ORDER or name.endswith("_like")
    given = (args, kwargs)
    return on_device(result, name, arrays_in(given), keeps_order, kwargs.get("out"), numbers_in(given))


def _refuse_repeated_along(arr: Host, indices: Host, values: Any, axis: int) -> None:
    places = np.take_along_axis(np.arange(arr.size).reshape(arr.shape), indices, axis)
    refuse_repeated(places, "put_along_axis")


def elementwise(name: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a ufunc as CuPy does: its keywords are out, dtype and casting, its results are in C order.

    A TypeError for another keyword, for host arrays and for lists; an AttributeError for a ufunc that CuPy lacks.
    """
    if name == "matmul":
        return matmul(*inputs, **kwargs)
    function, nin, kwargs = getattr(np, name), judge.real(name).nin, dict(kwargs)
    inputs, outputs, out = inputs[:nin], inputs[nin:], kwargs.pop("out", None)
    outputs = outputs or (out if isinstance(out, tuple) else () if out is None else (out,))
    refuse_keywords(name, kwargs, {"out", "dtype", "casting"})
    for operand in inputs:
        refuse_sequence(operand, name)
    hosts, out_hosts = to_hosts(inputs, name), to_hosts(outputs, f"{name}: out")
    if isinstance(function, np.ufunc):
        kwargs["order"] = "C"
    if out_hosts:
        kwargs["out"] = out_hosts
        if any(_overlaps(a, b) for a in hosts for b in out_hosts if isinstance(a, Host)):
            emit("allocation", f"{name}: operand that overlaps out, copied")
    with np.errstate(all="ignore"):
        result = function(*hosts, **kwargs)
    return on_device(result, name, [], written=outputs, given=(inputs, kwargs))


def matmul(a: Any, b: Any) -> Any:
    """Return a @ b, through CuPy's wrapper of cuBLAS."""
    forbid("matmul", CUBLAS)
    with np.errstate(all="ignore"):
        product = np.matmul(to_hosts(a, "matmul"), to_hosts(b, "matmul"))
    return on_device(product, "matmul", [], given=(a, b))


def _overlaps(a: Host, b: Host) -> bool:
    same = a.ctypes.data == b.ctypes.data and (a.shape, a.strides) == (b.shape, b.strides)
    return not same and np.may_share_memory(a, b)


def on_device(
    result: Any,
    call: str,
    operands: list[OnDevice],
    keeps_order: bool = False,
    written: Any = None,
    given: Any = (),
) -> Any:
    """Return NumPy's result as the device's: arrays without axes for numbers, C order, events announced.

    A result in an operand's memory is a view, or the operand itself: nothing was launched for it, unless it is
    `written`, the argument `out`. The launch reads `operands` and the arrays in `given`, all arguments of the call.
    Host values, a shape or a dtype, pass as they are.
    """
    from xpcnn.simulated.array import ndarray

    if isinstance(result, tuple | list):
        items = [on_device(item, call, operands, keeps_order, written, given) for item in result]
        return type(result)(*items) if hasattr(result, "_fields") else type(result)(items)
    reads, numbers = [*operands, *arrays_in(given)], numbers_in(given)
    if result is None:  # the first operand was changed in place
        launched(call, reads, reads[:1], numbers)
    if not isinstance(result, Host | np.generic):
        return result
    host = np.asarray(result)
    for operand in arrays_in(written):
        if operand._host is host:
            launched(call, reads, [operand], numbers)
            return operand
    for operand in operands:
        if operand._host is host:
            return operand
        if np.may_share_memory(host, operand._host):
            return ndarray(host)
    if not keeps_order and not host.flags.c_contiguous:
        host = np.ascontiguousarray(host)
    made = ndarray(allocated(call, host))
    launched(call, reads, [made], numbers)
    emit_dtype(call, host.dtype)
    return made
