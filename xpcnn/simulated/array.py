"""The array of the simulated device: as strict as cupy.ndarray, and stricter where CuPy is silent."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn

import numpy as np

from xpcnn.simulated import indexing, judge
from xpcnn.simulated.calls import computed, elementwise, matmul, on_device
from xpcnn.simulated.events import emit, weigh
from xpcnn.simulated.guard import Host, OnDevice, arrays_in, numbers_in
from xpcnn.simulated.launches import copied, launched, refuse_pending
from xpcnn.simulated.memory import allocated, memory_of, poison
from xpcnn.simulated.methods import METHODS
from xpcnn.simulated.streams import current_stream, deliver_later, host_waits_for

DOWNLOADS = {"item", "tobytes", "tolist"}
COMPARISONS = {"equal", "greater", "greater_equal", "less", "less_equal", "not_equal"}


class Flags(NamedTuple):
    """Memory order; ``flags["C_CONTIGUOUS"]`` is ``flags.c_contiguous``."""

    c_contiguous: bool
    f_contiguous: bool
    owndata: bool

    def __getitem__(self, name: str) -> bool:  # type: ignore[override]
        return bool(getattr(self, name.lower()))


class ndarray(np.lib.mixins.NDArrayOperatorsMixin, OnDevice):  # noqa: N801  # CuPy's name
    """An array on the simulated device, made by `to_device` or by a function of `xp`.

    Its values are in `_host`, a NumPy array that only the simulation (and its kernels) may read. A name exists if
    cupy.ndarray has it, and is called as there; results of arithmetic are C-contiguous; reductions give arrays
    without axes; `float`, `int`, `bool`, `.item()`, `.get()`, printing and boolean masks wait for the device.
    """

    __slots__ = ()
    __module__ = "simulated"
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    shape: tuple[int, ...]
    dtype: "np.dtype[Any]"
    ndim: int

    def __init__(self, host: Any) -> None:
        super().__init__(host)
        memory_of(self._host)

    # ---- known to the host without waiting -------------------------------------------------------------

    @property
    def flags(self) -> Flags:
        """Memory order."""
        flags = self._host.flags
        return Flags(flags.c_contiguous, flags.f_contiguous, flags.owndata)

    @property
    def data(self) -> SimpleNamespace:
        """The address, as `data.ptr`: what a kernel is launched with."""
        return SimpleNamespace(ptr=self._host.ctypes.data, size=self._host.nbytes)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        host = self._host
        return {"shape": host.shape, "typestr": host.dtype.str, "strides": host.strides, "version": 3,
                "data": (host.ctypes.data, False)}  # fmt: skip

    def __len__(self) -> int:
        return len(self._host)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *METHODS, *DOWNLOADS})

    # ---- subscripts and products -----------------------------------------------------------------------

    def __iter__(self) -> Iterator["ndarray"]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, key: Any) -> "ndarray":
        result: ndarray = on_device(indexing.getitem(self._host, key), "getitem", [self], given=key)
        return result

    def __setitem__(self, key: Any, value: Any) -> None:
        written = indexing.setitem(self._host, key, value)
        if written is not None:
            launched("setitem", arrays_in((key, value)), [ndarray(written)], numbers_in((key, value)))

    def __imatmul__(self, other: Any) -> Any:
        return matmul(self, other)  # a new array, as in CuPy

    # ---- what waits for the device ---------------------------------------------------------------------

    def __format__(self, specification: str) -> str:
        host = self._downloaded("format()")
        return format(host[()] if host.ndim == 0 else host, specification)

    def get(
        self, stream: Any = None, order: Any = "C", out: Host | None = None, blocking: bool = True
    ) -> Host:
        """Copy to the host; without `blocking`, what comes back is poisoned until the stream has been waited for."""
        values = self._downloaded(".get()", stream, blocking).copy(order)
        if blocking:
            if out is None:
                return values
            out[...] = values
            return out
        target = poison(np.empty_like(values) if out is None else out)
        deliver_later(stream or current_stream(), target, values)
        return target

    def set(self, arr: Host, stream: Any = None) -> None:
        """Copy from a host array of the same shape and dtype."""
        if not isinstance(arr, Host) or (arr.shape, arr.dtype) != (self.shape, self.dtype):
            raise TypeError(f"set: expected a numpy.ndarray {self.shape} of {self.dtype}; convert it first")
        emit("upload", ".set()")
        refuse_pending(arr, ".set()")
        copied(".set()", [], [self._host], stream or current_stream())
        weigh("upload", arr.nbytes)
        self._host[...] = arr

    def __copy__(self, memo: Any = None) -> Any:
        return self.copy()

    __deepcopy__ = __copy__

    def __reduce__(self) -> tuple[Any, ...]:
        return uploaded, (self._downloaded("pickle").copy(), "pickle")

    def _downloaded(self, call: str, stream: Any = None, blocking: bool = True) -> Host:
        emit("download", call, waits=blocking)
        clock = copied(call, [self._host], [], stream or current_stream())
        weigh("download", self._host.nbytes)
        if blocking:
            host_waits_for(clock)
        return self._host

    # ---- NumPy's functions, and NumPy's arrays -----------------------------------------------------------

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly; in xpcnn: to_host(x)"
        )

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Compute every operator, and quietly np.exp(x), on the device, as in CuPy."""
        if method != "__call__":
            return NotImplemented
        left = inputs[0]
        if ufunc.__name__ in COMPARISONS and isinstance(left, Host) and left.ndim == 0:
            inputs = (
                left.item(),
                *inputs[1:],
            )  # NumPy makes an array of a scalar on the left; CuPy undoes it
        return elementwise(ufunc.__name__, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Let np.sum(x) be computed on the device, quietly, as in CuPy."""
        from xpcnn.simulated.namespace import stand_in

        return getattr(stand_in, function.__name__)(*args, **kwargs)

    # ---- methods ----------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return one of CuPy's methods, which checks its arguments against CuPy's signature."""
        if name.startswith("__"):
            raise AttributeError(name)
        path = f"ndarray.{name}"
        if name not in METHODS and name not in DOWNLOADS:
            raise judge.lacks(path)
        judge.real(path)

        def call(*args: Any, **kwargs: Any) -> Any:
            if name in METHODS:
                return computed(path, METHODS[name], (self, *args), kwargs)
            judge.bind(path, (self, *args), kwargs)
            return getattr(self._downloaded(f".{name}()"), name)(*args, **kwargs)

        return call


def _known(name: str) -> property:
    return property(lambda self: getattr(self._host, name), doc=f"NumPy's {name}, known without waiting.")


def _view(name: str) -> property:
    return property(lambda self: ndarray(getattr(self._host, name)), doc="A view of the same memory.")


def _waiting(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda self: convert(self._downloaded(f"{convert.__name__}()"))


for _name in ("shape", "strides", "dtype", "ndim", "size", "itemsize", "nbytes"):
    setattr(ndarray, _name, _known(_name))
for _name in ("T", "mT", "real"):
    setattr(ndarray, _name, _view(_name))
for _convert in (float, int, complex, bool, str, repr):
    setattr(ndarray, f"__{_convert.__name__}__", _waiting(_convert))


def uploaded(host: Host, call: str) -> ndarray:
    """Return memory of the device, with the values of the host's that were copied into `host`."""
    emit("upload", call)
    made = ndarray(allocated(call, host, given=True))
    copied(call, [], [host], current_stream())
    weigh("upload", host.nbytes)
    return made
