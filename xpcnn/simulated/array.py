"""The array of the simulated device: as strict as cupy.ndarray, and stricter where CuPy is silent."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from xpcnn.simulated import indexing, judge
from xpcnn.simulated.arithmetic import COMPARISONS, Arithmetic, elementwise
from xpcnn.simulated.events import emit, weigh
from xpcnn.simulated.guard import Host, arrays_in, numbers_in, to_hosts, to_hosts_by_name
from xpcnn.simulated.launches import allocated, copied, launched, refuse_pending
from xpcnn.simulated.memory import memory_of, poison
from xpcnn.simulated.methods import METHODS, Flags, Pointer
from xpcnn.simulated.results import on_device
from xpcnn.simulated.streams import current_stream, deliver_later, host_waits_for


class ndarray(Arithmetic):  # noqa: N801  # CuPy's name
    """An array on the simulated device, made by `to_device` or by a function of `xp`.

    Its values are in `_host`, a NumPy array that only the simulation (and its kernels) may read. A name exists if
    cupy.ndarray has it, and is called as there; results of arithmetic are C-contiguous; reductions give arrays
    without axes; `float`, `int`, `bool`, `.item()`, `.get()`, printing and boolean masks wait for the device.
    """

    __slots__ = ()
    __module__ = "simulated"
    __array_priority__ = 100
    __hash__ = None

    def __init__(self, host: Any) -> None:
        super().__init__(host)
        memory_of(self._host)

    # ---- what the host may ask without waiting --------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self._host.shape

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next, along each axis."""
        return self._host.strides

    @property
    def dtype(self) -> "np.dtype[Any]":
        """The dtype, NumPy's object."""
        return self._host.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._host.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._host.size

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self._host.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._host.nbytes

    @property
    def flags(self) -> Flags:
        """Contiguity."""
        return Flags(self._host)

    @property
    def data(self) -> Pointer:
        """The address, as `data.ptr`: what a kernel is launched with."""
        return Pointer(self._host.ctypes.data, self._host.nbytes)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        host = self._host
        return {"shape": host.shape, "typestr": host.dtype.str, "strides": host.strides, "version": 3,
                "data": (host.ctypes.data, False)}  # fmt: skip

    def __len__(self) -> int:
        return len(self._host)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *METHODS})

    # ---- views ------------------------------------------------------------------------------------------

    @property
    def T(self) -> "ndarray":  # noqa: N802
        """All axes in reverse order, a view."""
        return ndarray(self._host.T)

    @property
    def mT(self) -> "ndarray":  # noqa: N802
        """The last two axes exchanged, a view."""
        return ndarray(self._host.swapaxes(-1, -2))

    @property
    def real(self) -> "ndarray":
        """The real part, a view."""
        return ndarray(self._host.real)

    def __iter__(self) -> Iterator["ndarray"]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, key: Any) -> "ndarray":
        result: ndarray = on_device(indexing.getitem(self._host, key), "getitem", [self], given=key)
        return result

    def __setitem__(self, key: Any, value: Any) -> None:
        written = indexing.setitem(self._host, key, value)
        if written is not None:
            launched("setitem", arrays_in((key, value)), [ndarray(written)], numbers_in((key, value)))

    # ---- what waits for the device --------------------------------------------------------------------

    def __float__(self) -> float:
        return float(self._downloaded("float()"))

    def __int__(self) -> int:
        return int(self._downloaded("int()"))

    def __complex__(self) -> complex:
        return complex(self._downloaded("complex()"))

    def __bool__(self) -> bool:
        return bool(self._downloaded("bool()"))

    def __repr__(self) -> str:
        return repr(self._downloaded("repr()"))

    def __str__(self) -> str:
        return str(self._downloaded("str()"))

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

    def item(self) -> Any:
        """Return the only element as a number."""
        return self._downloaded(".item()").item()

    def tolist(self) -> Any:
        """Return nested lists of numbers."""
        return self._downloaded(".tolist()").tolist()

    def tobytes(self, order: Any = "C") -> bytes:
        """Return the values as bytes."""
        return self._downloaded(".tobytes()").tobytes(order)

    def __copy__(self) -> "ndarray":
        twin: ndarray = self.copy()
        return twin

    def __deepcopy__(self, memo: Any) -> "ndarray":
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _uploaded, (self._downloaded("pickle").copy(),)

    def _downloaded(self, call: str, stream: Any = None, blocking: bool = True) -> Host:
        emit("download", call, waits=blocking)
        stream = stream or current_stream()
        clock = copied(call, [self._host], [], stream)
        weigh("download", self._host.nbytes)
        if blocking:
            host_waits_for(clock)
        return self._host

    # ---- NumPy's functions, and NumPy's arrays ----------------------------------------------------------

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly; in xpcnn: to_host(x)"
        )

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Let np.exp(x) be computed on the device, quietly, as in CuPy."""
        if method != "__call__":
            return NotImplemented
        if (
            ufunc.__name__ in COMPARISONS.values()
        ):  # NumPy makes an array of a scalar on their left; CuPy undoes it
            inputs = tuple(x.item() if isinstance(x, Host) and x.ndim == 0 else x for x in inputs)
        return elementwise(ufunc.__name__, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Let np.sum(x) be computed on the device, quietly, as in CuPy."""
        from xpcnn.simulated.namespace import stand_in

        return getattr(stand_in, function.__name__)(*args, **kwargs)

    # ---- methods ----------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a method of CuPy's, that checks its arguments against CuPy's signature."""
        if name.startswith("__"):
            raise AttributeError(name)
        judge.real(f"ndarray.{name}")
        if name not in METHODS:
            raise AttributeError(f"cupy.ndarray.{name} exists, but the simulated device lacks it")
        method = METHODS[name]

        def call(*args: Any, **kwargs: Any) -> Any:
            judge.bind(f"ndarray.{name}", (self, *args), kwargs)
            with np.errstate(all="ignore"):  # CuPy never warns of an overflow
                result = method.run(self._host, *to_hosts(args, name), **to_hosts_by_name(kwargs, name))
            operands, numbers = [self, *arrays_in((args, kwargs))], numbers_in((args, kwargs))
            return on_device(result, name, operands, method.keeps_order, kwargs.get("out"), numbers)

        return call


def uploaded(host: Host, call: str) -> ndarray:
    """Return memory of the device's own, with the values of the host's that were copied into `host`."""
    emit("upload", call)
    made = ndarray(allocated(call, host, given=True))
    copied(call, [], [host], current_stream())
    weigh("upload", host.nbytes)
    return made


def _uploaded(host: Host) -> ndarray:
    return uploaded(host, "pickle")
