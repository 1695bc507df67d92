"""The stand-in for the `cupy` module: NumPy's functions, on device arrays, under CuPy's rules.

A name exists only if the real CuPy has it, and a call must bind CuPy's signature. Where that says ``**kwargs``,
and where CuPy does another thing than NumPy, the rule is written by hand, in `rules`.
"""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from xpcnn.simulated import judge
from xpcnn.simulated.arithmetic import elementwise
from xpcnn.simulated.array import ndarray
from xpcnn.simulated.events import CUBLAS, MASK, emit, forbid
from xpcnn.simulated.guard import Host, arrays_in, numbers_in, refuse_sequence, to_hosts, to_hosts_by_name
from xpcnn.simulated.indexing import ATOMIC, WRAPS, OrderError, refuse_repeated
from xpcnn.simulated.results import on_device
from xpcnn.simulated.rules import RULES

WAITS = {
    "argwhere", "bincount", "compress", "extract", "flatnonzero", "histogram", "histogram2d", "histogramdd",
    "intersect1d", "isin", "mask_indices", "nanmax", "nanmin", "nonzero", "place", "setdiff1d", "setxor1d",
    "trim_zeros", "union1d", "unique", "unique_all", "unique_counts", "unique_inverse", "unique_values",
    "unravel_index",
}  # fmt: skip
"""Functions of CuPy that read a value from the device on their way."""

COUNTS = {"bincount", "histogram", "histogram2d", "histogramdd"}
"""Functions of CuPy that add up `weights` by atomics."""

PRODUCTS = {"dot", "einsum", "inner", "kron", "matmul", "tensordot", "vdot"}
"""Functions that CuPy computes by cuBLAS."""

ANSWER_ON_DEVICE = {"allclose", "array_equal", "array_equiv"}
"""Functions with which NumPy answers True or False, and CuPy with an array without axes."""

KEEPS_ORDER = {"asfortranarray", "astype", "copy", "pad", "require"}
"""Functions whose result may have another memory order than C."""

FIRST_IS_ARRAY = {"a", "x", "arr", "array", "ar", "m", "v", "filt", "a1", "condition"}
"""What CuPy calls a first argument that has to be an array."""

COMPILED = {"ElementwiseKernel", "RawKernel", "ReductionKernel", "fuse", "vectorize"}
"""What NVRTC compiles from text that only a GPU runs."""


class Ufunc:
    """A ufunc: called elementwise; `reduce` and `accumulate` as CuPy has them, for sums and products only."""

    def __init__(self, name: str) -> None:
        self.name, self.__name__ = name, name
        self.nin: int = judge.real(name).nin

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return elementwise(self.name, args, kwargs)

    def reduce(
        self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        """Sum or multiply along an axis."""
        return getattr(array, self._method({"add": "sum", "multiply": "prod"}, "reduce"))(
            axis, dtype, out, keepdims
        )

    def accumulate(self, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        """Sum or multiply along an axis, keeping the partial results."""
        return getattr(array, self._method({"add": "cumsum", "multiply": "cumprod"}, "accumulate"))(
            axis, dtype, out
        )

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        """Add into places that may come twice: atomically on a GPU, so floating numbers are refused."""
        scatter = {"add": "scatter_add", "maximum": "scatter_max", "minimum": "scatter_min"}
        getattr(a, self._method(scatter, "at"))(indices, b)

    def outer(self, a: Any, b: Any, **kwargs: Any) -> Any:
        """Apply to all pairs."""
        return self(a.reshape(a.shape + (1,) * b.ndim), b, **kwargs)

    def _method(self, known: dict[str, str], what: str) -> str:
        if self.name not in known:
            raise NotImplementedError(f"`{self.name}.{what}` is not supported by CuPy")
        return known[self.name]

    def __repr__(self) -> str:
        return f"<ufunc '{self.name}' of the simulated device>"


class StandIn(ModuleType):
    """What `xp` is on the simulated device; a submodule such as `linalg` is another one."""

    def __init__(self, path: str = "") -> None:
        super().__init__("simulated" + path)
        self._path = path

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = self._made(f"{self._path}.{name}".lstrip("."), name)
        self.__dict__[name] = value
        return value

    def _made(self, path: str, name: str) -> Any:
        real = judge.real(path)
        if path in RULES:
            return checked(path, RULES[path])
        if path == "ndarray":
            return ndarray
        if path in COMPILED:
            raise AttributeError(
                f"cupy.{path} is compiled for a GPU only; write the kernel as a RawModule's source"
            )
        if path == "RawModule":
            from xpcnn.simulated.raw_module import RawModule

            return RawModule
        if path in ("random", "cuda"):
            return _device_module(path)
        if isinstance(real, ModuleType):
            return StandIn(f".{path}")
        if not callable(real) or (
            isinstance(real, type) and (real is np.dtype or issubclass(real, np.generic))
        ):
            return real  # constants, dtypes: NumPy's own objects, in CuPy too
        if path in ("finfo", "iinfo"):
            return real
        if isinstance(real, judge.real("ufunc")):
            return Ufunc(name)
        numpy_function = _in_numpy(path)
        if numpy_function is None:
            raise AttributeError(f"cupy.{path} exists, but the simulated device lacks it")
        return checked(path, generic(path, numpy_function))


def checked(path: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that binds CuPy's signature before anything else."""
    name = path.rpartition(".")[2]

    def call(*args: Any, **kwargs: Any) -> Any:
        judge.bind(path, args, kwargs)
        return function(*args, **kwargs)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"CuPy's {path}, on the simulated device."
    return call


def generic(path: str, numpy_function: Callable[..., Any]) -> Callable[..., Any]:
    """Return CuPy's function by NumPy's of the same name."""
    name = path.rpartition(".")[2]
    known = judge.signature(path)
    takes_array = known is not None and next(iter(known.parameters), None) in FIRST_IS_ARRAY

    def call(*args: Any, **kwargs: Any) -> Any:
        if takes_array and args:
            refuse_sequence(args[0], name)
        hosts, hosts_by_name = to_hosts(args, name), to_hosts_by_name(kwargs, name)
        if name in WAITS or (name == "where" and len(args) == 1) or (name == "repeat" and _is_array(args, 1)):
            emit("synchronisation", name, why=MASK)
        if name in PRODUCTS or path.startswith("linalg."):
            forbid(name, CUBLAS)
        if name == "put_along_axis":
            _refuse_repeated_along(*hosts, **hosts_by_name)
        if name in COUNTS:
            _refuse_atomic_sum(name, args, kwargs)
        try:
            with np.errstate(all="ignore"):
                result = numpy_function(*hosts, **hosts_by_name)
        except IndexError as error:
            raise IndexError(f"{name}: {error}; {WRAPS}") from None
        if name in ANSWER_ON_DEVICE:
            result = np.bool_(result)
        keeps_order = name in KEEPS_ORDER or name.endswith("_like")
        return on_device(
            result,
            name,
            arrays_in((args, kwargs)),
            keeps_order,
            kwargs.get("out"),
            numbers_in((args, kwargs)),
        )

    return call


def _refuse_repeated_along(arr: Host, indices: Host, values: Any, axis: int) -> None:
    places = np.take_along_axis(np.arange(arr.size).reshape(arr.shape), indices, axis)
    refuse_repeated(places, "put_along_axis")


def _refuse_atomic_sum(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse weights, which are added where each value falls."""
    bound = judge.signature(name)
    weights = None if bound is None else bound.bind(*args, **kwargs).arguments.get("weights")
    if isinstance(weights, ndarray) and weights.dtype.kind in "fc":
        raise OrderError(f"{name} with weights: {ATOMIC}")


def _is_array(args: tuple[Any, ...], position: int) -> bool:
    return len(args) > position and isinstance(args[position], ndarray)


def _in_numpy(path: str) -> Callable[..., Any] | None:
    found: Any = np
    for name in path.split("."):
        found = getattr(found, name, None)
    return found if callable(found) and not inspect.isclass(found) else None


def _device_module(path: str) -> ModuleType:
    from xpcnn.simulated import device, randomness

    return {"random": randomness.stand_in, "cuda": device.stand_in}[path]


stand_in = StandIn()
"""The module that `xp` forwards to."""
