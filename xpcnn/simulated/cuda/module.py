"""`RawModule` and its kernels, called as CuPy's are, and far less forgiving."""

import ctypes
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from xpcnn.errors import KernelError
from xpcnn.simulated.cuda.build import build
from xpcnn.simulated.cuda.places import with_places
from xpcnn.simulated.cuda.schedules import Run, most_at_each_end, runs
from xpcnn.simulated.cuda.translate import kernel_names, parameter_names, to_cpp
from xpcnn.simulated.events import emit

MOST_THREADS, MOST_DEEP = 1024, 64
MOST_BLOCKS = (2**31 - 1, 65535, 65535)
MOST_SHARED = 48 * 1024
"""Bytes of shared memory that every GPU gives without being asked for more."""

OPTION = re.compile(r"-D\w+(=.*)?|--?std=c\+\+\d+|--?ftz=(true|false)|--?(generate-line-info|lineinfo)")
"""Options of NVRTC that are known to leave every result as it is here, or as the macros say."""


class RawModule:
    """A CUDA text, compiled when its first kernel is asked for.

    Parameters
    ----------
    code : str
    options : sequence of str
        ``-DNAME=VALUE`` defines a macro; the language (``-std=``), ``-ftz=`` and ``-lineinfo`` change nothing here. Any
        other is refused: with ``--use_fast_math``, for instance, a GPU rounds in a way that is not simulated.
    backend, translate_cucomplex, enable_cooperative_groups, jitify
        Taken as CuPy takes them, and without a meaning here.
    """

    def __init__(
        self,
        code: str | None = None,
        *,
        path: str | None = None,
        options: Sequence[str] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        name_expressions: Sequence[str] | None = None,
        jitify: bool = False,
    ) -> None:
        if code is None or path is not None or name_expressions is not None:
            raise KernelError(
                'RawModule: the simulated device takes `code`, with kernels declared extern "C"'
            )
        for option in options:
            if not OPTION.fullmatch(option):
                raise KernelError(
                    f"RawModule: the option {option} is not simulated, and results on a GPU may differ; leave it out"
                )
        self.code, self.options = code, tuple(options)
        self._library: ctypes.PyDLL | None = None

    def get_function(self, name: str) -> "RawKernel":
        """Return a kernel by its name."""
        names = kernel_names(self.code)
        if name not in names:
            raise KernelError(f'{name}: no such kernel; the text has extern "C" {", ".join(names) or "none"}')
        self.compile()
        return RawKernel(name, self._library, parameter_names(self.code, name))

    def compile(self, log_stream: Any = None) -> None:
        """Compile the text now."""
        if self._library is None:
            macros = [option[2:].partition("=") for option in self.options if option.startswith("-D")]
            text = to_cpp(self.code, {name: value or "1" for name, _, value in macros})
            # PyDLL: one launch at a time, whatever threads Python has, for a library has one set of fibers
            self._library = ctypes.PyDLL(str(build(text)))


class RawKernel:
    """One kernel: ``kernel(grid, block, args, shared_mem=0)``."""

    def __init__(self, name: str, library: Any, parameters: Sequence[str]) -> None:
        self.name = name
        self._library = library
        self._run = getattr(library, f"simulated_run_{name}")
        self._run.restype = ctypes.c_char_p
        types = getattr(library, f"simulated_types_{name}")
        types.restype = ctypes.c_char_p
        self.types: tuple[str, ...] = tuple(types().decode().split())
        named = len(parameters) == len(self.types)
        self._names = [(parameters[i] if named else f"argument {i}").encode() for i in range(len(self.types))]

    def __call__(
        self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], *, shared_mem: int = 0
    ) -> None:
        """Run the kernel, once for every schedule that is asked for.

        Raises
        ------
        KernelError
            For arguments or sizes that would make a GPU fail, or quietly compute something else, and for the faults
            that only running shows: a race, a divergent barrier, shared memory that nobody wrote.
        """
        sizes = self._sizes(grid, block, shared_mem)
        if len(args) != len(self.types):
            raise KernelError(
                f"{self.name}: expected {len(self.types)} arguments, got {len(args)}; CuPy does not count"
            )
        values = [self._value(i, *pair) for i, pair in enumerate(zip(args, self.types, strict=True))]
        emit("launch", self.name)
        order = runs()
        written = [
            array for array, kind in zip(values, self.types, strict=True) if kind[0] == "*" and array.size
        ]
        before = [array.copy() for array in written] if len(order) > 1 else []
        first: list[bytes] = []
        for number, run in enumerate(order):
            if number:
                for array, values_before in zip(written, before, strict=True):
                    array[...] = values_before
            launch = self._launch(values, *sizes, shared_mem, run, seed=number)
            complaint = self._run(ctypes.byref(launch))
            if complaint:
                raise KernelError(f"{self.name}: {with_places(complaint.decode(), self._library._name)}")
            results = [array.tobytes() for array in written] if len(order) > 1 else []
            if number and results != first:
                raise KernelError(f"{self.name}: {run.fault}")
            first = first or results

    def _sizes(
        self, grid: Sequence[int], block: Sequence[int], shared_mem: int
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        blocks, threads = ((*(int(length) for length in sizes), 1, 1)[:3] for sizes in (grid, block))
        if min(threads) < 1 or np.prod(threads) > MOST_THREADS or threads[2] > MOST_DEEP:
            raise KernelError(f"{self.name}: a block has 1 to {MOST_THREADS} threads, got {threads}")
        if min(blocks) < 1 or any(length > most for length, most in zip(blocks, MOST_BLOCKS, strict=True)):
            raise KernelError(f"{self.name}: a grid has 1 to {MOST_BLOCKS} blocks, got {blocks}")
        if not 0 <= shared_mem <= MOST_SHARED:
            raise KernelError(
                f"{self.name}: a block has {MOST_SHARED} bytes of shared memory at most, got {shared_mem}"
            )
        return blocks, threads

    def _value(self, position: int, argument: Any, kind: str) -> Any:
        who = f"{self.name}: argument {position}"
        if "*" in kind:
            array = getattr(argument, "_host", argument)
            if not isinstance(array, np.ndarray):
                raise KernelError(f"{who}: expected an array, got {type(argument).__name__}")
            if array.dtype != np.dtype(kind.lstrip("c*")):
                raise KernelError(f"{who}: expected {np.dtype(kind.lstrip('c*'))}, got {array.dtype}")
            if not array.flags.c_contiguous:
                raise KernelError(f"{who}: a kernel sees no strides; pass ascontiguousarray(...)")
            if kind[0] == "*" and not array.flags.writeable:
                raise KernelError(f"{who}: the kernel may write, and the array is read-only")
            return array
        dtype = np.dtype(kind)
        packed = {bool: np.bool_, int: np.int64, float: np.float64}.get(type(argument))
        value = (
            packed(argument) if packed else argument
        )  # CuPy packs Python's numbers so, whatever the kernel expects
        if not isinstance(value, np.generic) or value.dtype != dtype:
            raise KernelError(
                f"{who}: expected np.{dtype.name}, got {type(argument).__name__}, which CuPy would pass "
                f"as other bytes; pass np.{dtype.name}(...)"
            )
        return np.array(value)

    def _launch(
        self,
        values: list[Any],
        blocks: tuple[int, ...],
        threads: tuple[int, ...],
        shared_mem: int,
        run: Run,
        seed: int,
    ) -> "_Launch":
        word = ctypes.sizeof(ctypes.c_void_p)
        addresses = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        arguments = (ctypes.c_void_p * len(values))()
        arrays = (_Array * len(values))()
        count = 0
        for i, (value, kind) in enumerate(zip(values, self.types, strict=True)):
            if "*" not in kind:
                arguments[i] = addresses[i]
                continue
            arguments[i] = ctypes.addressof(addresses) + i * word  # the address of the address
            arrays[count] = _Array(
                value.ctypes.data, arguments[i], value.nbytes, _offset(value), value.itemsize, kind[0] == "c",
                self._names[i],
            )  # fmt: skip
            count += 1
        launch = _Launch(
            arguments,
            arrays,
            (ctypes.c_uint * 3)(*blocks),
            (ctypes.c_uint * 3)(*threads),
            shared_mem,
            MOST_SHARED,
            count,
            most_at_each_end(),
            run.schedule,
            run.poison,
            seed,
        )
        launch.addresses = addresses  # kept alive as long as the launch
        return launch


def _offset(array: np.ndarray[Any, Any]) -> int:
    """Return how far from the beginning of the memory that was allocated an array begins."""
    base = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    return int(array.ctypes.data - base.ctypes.data)


class _Array(ctypes.Structure):
    """The struct `simulated::Array` of include/runtime.h."""

    _fields_ = (
        ("begin", ctypes.c_void_p),
        ("argument", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
        ("offset", ctypes.c_size_t),
        ("item", ctypes.c_uint),
        ("read_only", ctypes.c_uint),
        ("name", ctypes.c_char_p),
    )


class _Launch(ctypes.Structure):
    """The struct `simulated::Launch` of include/runtime.h."""

    addresses: Any
    _fields_ = (
        ("arguments", ctypes.POINTER(ctypes.c_void_p)),
        ("arrays", ctypes.POINTER(_Array)),
        ("grid", ctypes.POINTER(ctypes.c_uint)),
        ("block", ctypes.POINTER(ctypes.c_uint)),
        ("shared_bytes", ctypes.c_size_t),
        ("most_shared", ctypes.c_size_t),
        ("array_count", ctypes.c_uint),
        ("most_at_each_end", ctypes.c_uint),
        ("schedule", ctypes.c_int),
        ("poison", ctypes.c_int),
        ("seed", ctypes.c_uint),
    )
