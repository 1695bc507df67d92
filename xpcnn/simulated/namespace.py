"""The stand-in for the `cupy` module: NumPy's functions, on device arrays, under CuPy's rules.

A name exists only if the real CuPy has it, and a call must bind CuPy's signature. Where CuPy does not do what NumPy
does, the rule is written by hand, in `rules` and `randomness`.
"""

import inspect
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from xpcnn.simulated import judge, memory
from xpcnn.simulated.array import ndarray
from xpcnn.simulated.calls import computed, elementwise
from xpcnn.simulated.cuda import RawModule
from xpcnn.simulated.guard import arrays_in
from xpcnn.simulated.rules import RULES
from xpcnn.simulated.streams import Event, Stream, current_stream, host_waits_for_all

KNOWN: dict[str, Any] = {
    "RawModule": RawModule,
    "cuda.Event": Event,
    "cuda.Stream": Stream,
    "cuda.get_current_stream": current_stream,
    "cuda.memory": SimpleNamespace(OutOfMemoryError=memory.OutOfMemoryError),
    "cuda.runtime": SimpleNamespace(getDeviceCount=lambda: 0, deviceSynchronize=host_waits_for_all),
    "is_available": lambda: True,  # this device is always there
    "ndarray": ndarray,
}
"""Objects of the simulation, by CuPy's dotted names."""

COMPILED = {"ElementwiseKernel", "RawKernel", "ReductionKernel", "fuse", "vectorize"}
"""What NVRTC compiles from text that only a GPU runs."""

AS_METHOD = {
    ("add", "accumulate"): "cumsum", ("add", "at"): "scatter_add", ("add", "reduce"): "sum",
    ("maximum", "at"): "scatter_max", ("minimum", "at"): "scatter_min",
    ("multiply", "accumulate"): "cumprod", ("multiply", "reduce"): "prod",
}  # fmt: skip
"""The methods of ufuncs that CuPy has, and the method of an array that does the same."""


class Ufunc:
    """A ufunc: called elementwise; `reduce`, `accumulate` and `at` where CuPy has them."""

    def __init__(self, name: str) -> None:
        self.name, self.__name__ = name, name
        self.nin: int = judge.real(name).nin

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return elementwise(self.name, args, kwargs)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return `reduce`, `accumulate` or `at`, as the method of an array that does the same."""
        if name not in ("reduce", "accumulate", "at"):
            raise AttributeError(name)
        if (self.name, name) not in AS_METHOD:
            raise NotImplementedError(f"`{self.name}.{name}` is not supported by CuPy")

        def call(array: Any, *args: Any, **kwargs: Any) -> Any:
            if name != "at" and not args:
                kwargs.setdefault("axis", 0)
            return getattr(array, AS_METHOD[self.name, name])(*args, **kwargs)

        return call

    def outer(self, a: Any, b: Any, **kwargs: Any) -> Any:
        """Apply to all pairs."""
        return self(a.reshape(a.shape + (1,) * b.ndim), b, **kwargs)

    def __repr__(self) -> str:
        return f"<ufunc '{self.name}' of the simulated device>"


class StandIn(ModuleType):
    """`xp` on the simulated device; a submodule such as `linalg` is another StandIn."""

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
        if path in KNOWN:
            return KNOWN[path]
        if path == "get_array_module":
            return lambda *args: self if arrays_in(args) else np
        if path in RULES:
            return checked(path, RULES[path])
        if path in COMPILED:
            raise AttributeError(
                f"cupy.{path} is compiled for a GPU only; write the kernel as a RawModule's source"
            )
        if self._path in (".cuda", ".random"):
            raise judge.lacks(path)
        if isinstance(real, ModuleType):
            return StandIn(f".{path}")
        if path in ("finfo", "iinfo") or not callable(real) or _is_dtype(real):
            return real  # constants, dtypes: NumPy's own objects, in CuPy too
        if isinstance(real, judge.real("ufunc")):
            return Ufunc(name)
        function = _in_numpy(path)
        if function is None:
            raise judge.lacks(path)
        return lambda *args, **kwargs: computed(path, function, args, kwargs)


def checked(path: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that binds CuPy's signature before anything else."""

    def call(*args: Any, **kwargs: Any) -> Any:
        judge.bind(path, args, kwargs)
        return function(*args, **kwargs)

    return call


def _is_dtype(real: Any) -> bool:
    return isinstance(real, type) and (real is np.dtype or issubclass(real, np.generic))


def _in_numpy(path: str) -> Callable[..., Any] | None:
    found: Any = np
    for name in path.split("."):
        found = getattr(found, name, None)
    return found if callable(found) and not inspect.isclass(found) else None


stand_in = StandIn()
"""The module that `xp` forwards to."""
