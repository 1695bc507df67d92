"""Arithmetic: operators and ufuncs, elementwise, under CuPy's rules; and the matrix product."""

from collections.abc import Callable
from typing import Any

import numpy as np

from xpcnn.simulated import judge
from xpcnn.simulated.events import CUBLAS, emit, forbid
from xpcnn.simulated.guard import Host, OnDevice, refuse_sequence, to_hosts
from xpcnn.simulated.results import on_device

BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "left_shift", "rshift": "right_shift",
}  # fmt: skip
COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
}
UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}


def elementwise(name: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a ufunc as CuPy does: keywords out, dtype and casting only, results in C order.

    Raises
    ------
    TypeError
        For another keyword, for arrays of the host's and for lists.
    AttributeError
        For a ufunc that CuPy lacks.
    """
    if name == "matmul":
        return matmul(*inputs, **kwargs)
    nin = judge.real(name).nin
    inputs, outputs = inputs[:nin], inputs[nin:]
    kwargs = dict(kwargs)
    out = kwargs.pop("out", None)
    outputs = outputs or (out if isinstance(out, tuple) else () if out is None else (out,))
    if unknown := set(kwargs) - {"dtype", "casting"}:
        raise TypeError(
            f"cupy.{name}: Wrong arguments {sorted(unknown)}: CuPy's ufuncs take out, dtype, casting"
        )
    for operand in inputs:
        refuse_sequence(operand, name)
    hosts, out_hosts = to_hosts(inputs, name), to_hosts(outputs, f"{name}: out")
    function = getattr(np, name)
    if isinstance(function, np.ufunc):
        kwargs["order"] = "C"
    if out_hosts:
        kwargs["out"] = out_hosts
        if any(_overlaps(a, b) for a in hosts for b in out_hosts if isinstance(a, Host)):
            emit("allocation", f"{name}: operand that overlaps out, copied")
    with np.errstate(all="ignore"):
        result = function(*hosts, **kwargs)
    return on_device(result, name, [], written=outputs, given=(inputs, kwargs))


def matmul(a: Any, b: Any, out: Any = None) -> Any:
    """Return a @ b, written into `out` if that is given, through CuPy's wrapper of cuBLAS."""
    forbid("matmul", CUBLAS)
    into = None if out is None else to_hosts(out, "matmul: out")
    with np.errstate(all="ignore"):
        product = np.matmul(to_hosts(a, "matmul"), to_hosts(b, "matmul"), out=into)
    return on_device(product, "matmul", [], written=out, given=(a, b))


def _overlaps(a: Host, b: Host) -> bool:
    same = a.ctypes.data == b.ctypes.data and (a.shape, a.strides) == (b.shape, b.strides)
    return not same and np.may_share_memory(a, b)


class Arithmetic(OnDevice):
    """The operators of an array; those of BINARY, COMPARISONS and UNARY are set below."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __matmul__(self, other: Any) -> Any:
        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return matmul(other, self)

    def __divmod__(self, other: Any) -> Any:
        return elementwise("divmod", (self, other), {})


def _binary(name: str) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    def forward(self: OnDevice, other: Any) -> Any:
        return elementwise(name, (self, other), {})

    def reflected(self: OnDevice, other: Any) -> Any:
        return elementwise(name, (other, self), {})

    def in_place(self: OnDevice, other: Any) -> Any:
        return elementwise(name, (self, other), {"out": self})

    return forward, reflected, in_place


def _unary(name: str) -> Callable[[OnDevice], Any]:
    return lambda self: elementwise(name, (self,), {})


for _operator, _ufunc in BINARY.items():
    for _prefix, _method in zip(("", "r", "i"), _binary(_ufunc), strict=True):
        setattr(Arithmetic, f"__{_prefix}{_operator}__", _method)
for _operator, _ufunc in COMPARISONS.items():
    setattr(Arithmetic, f"__{_operator}__", _binary(_ufunc)[0])
for _operator, _ufunc in UNARY.items():
    setattr(Arithmetic, f"__{_operator}__", _unary(_ufunc))
