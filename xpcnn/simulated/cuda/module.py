"""`RawModule` and its kernels: called as CuPy's are, and checked as CuPy's are not."""

import ctypes
import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

import numpy as np

from xpcnn.errors import KernelError
from xpcnn.simulated.cuda.build import build
from xpcnn.simulated.cuda.schedules import Run, most_at_each_end, runs
from xpcnn.simulated.cuda.translate import kernel_names, parameter_names, to_cpp
from xpcnn.simulated.guard import OnDevice
from xpcnn.simulated.launches import launched
from xpcnn.simulated.memory import address, owner

MOST_THREADS, MOST_DEEP = 1024, 64
MOST_BLOCKS = (2**31 - 1, 65535, 65535)
MOST_SHARED = 48 * 1024
"""Bytes of shared memory that every GPU gives without a special request."""

OPTION = re.compile(r"-D\w+(=.*)?|--?std=c\+\+\d+|--?ftz=(true|false)|--?(generate-line-info|lineinfo)")
"""Options of NVRTC that leave every result as it is here, or define macros."""


class RawModule:
    """A CUDA text, `code`, compiled when its first kernel is asked for.

    Of `options`, ``-DNAME=VALUE`` defines a macro; the language (``-std=``), ``-ftz=`` and ``-lineinfo`` change nothing
    here. Any other is refused: with ``--use_fast_math``, for instance, a GPU rounds in a way that is not simulated. The
    remaining arguments are as in CuPy, and without effect.
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
            # PyDLL: one launch at a time, whatever threads Python has, since a library has one set of fibers
            self._library = ctypes.PyDLL(str(build(text)))


class RawKernel:
    """One kernel: ``kernel(grid, block, args, shared_mem=0)``. It reads all its arrays, and writes those not const."""

    def __init__(self, name: str, library: Any, parameters: Sequence[str]) -> None:
        self.name = name
        self._library = library
        self._run, types = (getattr(library, f"simulated_{what}_{name}") for what in ("run", "types"))
        self._run.restype = types.restype = ctypes.c_char_p
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
            For arguments or sizes with which a GPU fails or quietly computes something else, and for the faults that
            only a run shows: a race, a divergent barrier, shared memory that no thread wrote.
        RaceError
            If another stream may still be using one of the arrays.
        """
        sizes = self._sizes(grid, block, shared_mem)
        if len(args) != len(self.types):
            raise KernelError(
                f"{self.name}: expected {len(self.types)} arguments, got {len(args)}; CuPy does not count"
            )
        values = [self._value(i, *pair) for i, pair in enumerate(zip(args, self.types, strict=True))]
        self._run_all(values, sizes, shared_mem)
        kinds = list(zip(args, self.types, strict=True))
        reads = [array for array, _ in kinds if isinstance(array, OnDevice)]
        writes = [array for array, kind in kinds if isinstance(array, OnDevice) and kind[0] == "*"]
        if reads:
            numbers = (value for value, kind in kinds if "*" not in kind)
            launched(self.name, reads, writes, [*grid, *block, *numbers])

    def _run_all(self, values: list[Any], sizes: Any, shared_mem: int) -> None:
        """Run every schedule on the same values, and compare the results."""
        order = runs()
        first: list[bytes] = []
        kinds = zip(values, self.types, strict=True)
        written = [array for array, kind in kinds if kind[0] == "*" and array.size]
        before = [array.copy() for array in written] if len(order) > 1 else []
        for number, run in enumerate(order):
            if number:
                for array, values_before in zip(written, before, strict=True):
                    array[...] = values_before
            launch = self._launch(values, sizes, shared_mem, run, number)
            if complaint := self._run(ctypes.byref(launch)):
                raise KernelError(f"{self.name}: {_with_places(complaint.decode(), self._library._name)}")
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
            array, dtype = getattr(argument, "_host", argument), np.dtype(kind.lstrip("c*"))
            if not isinstance(array, np.ndarray):
                raise KernelError(f"{who}: expected an array, got {type(argument).__name__}")
            if array.dtype != dtype:
                raise KernelError(f"{who}: expected {dtype}, got {array.dtype}")
            if not array.flags.c_contiguous:
                raise KernelError(f"{who}: a kernel sees no strides; pass ascontiguousarray(...)")
            if kind[0] == "*" and not array.flags.writeable:
                raise KernelError(f"{who}: the kernel may write, and the array is read-only")
            return array
        dtype = np.dtype(kind)
        packed = {bool: np.bool_, int: np.int64, float: np.float64}.get(type(argument))
        value = packed(argument) if packed else argument  # CuPy packs Python's numbers so, for any parameter
        if not isinstance(value, np.generic) or value.dtype != dtype:
            raise KernelError(
                f"{who}: expected np.{dtype.name}, got {type(argument).__name__}, which CuPy would pass "
                f"as other bytes; pass np.{dtype.name}(...)"
            )
        return np.array(value)

    def _launch(self, values: list[Any], sizes: Any, shared_mem: int, run: Run, seed: int) -> "_Launch":
        (blocks, threads), word = sizes, ctypes.sizeof(ctypes.c_void_p)
        addresses = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        arguments, arrays = (ctypes.c_void_p * len(values))(), []
        for i, (value, kind) in enumerate(zip(values, self.types, strict=True)):
            if "*" not in kind:
                arguments[i] = addresses[i]
                continue
            arguments[i] = ctypes.addressof(addresses) + i * word  # the address of the address
            offset, read_only = address(value) - address(owner(value)), kind[0] == "c"
            place = (value.ctypes.data, arguments[i], value.nbytes, offset, value.itemsize)
            arrays.append(_Array(*place, read_only, self._names[i]))
        launch = _Launch(
            arguments, (_Array * len(arrays))(*arrays), (_UINT * 3)(*blocks), (_UINT * 3)(*threads), shared_mem,
            MOST_SHARED, len(arrays), most_at_each_end(), run.schedule, run.poison, seed,
        )  # fmt: skip
        launch.addresses = addresses  # kept alive as long as the launch
        return launch


_POINTER, _SIZE, _UINT, _INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int


class _Array(ctypes.Structure):
    """The struct `simulated::Array` of include/runtime.h."""

    _fields_ = (
        ("begin", _POINTER), ("argument", _POINTER), ("bytes", _SIZE), ("offset", _SIZE), ("item", _UINT),
        ("read_only", _UINT), ("name", ctypes.c_char_p),
    )  # fmt: skip


class _Launch(ctypes.Structure):
    """The struct `simulated::Launch` of include/runtime.h."""

    addresses: Any
    _fields_ = (
        ("arguments", ctypes.POINTER(_POINTER)), ("arrays", ctypes.POINTER(_Array)), ("grid", ctypes.POINTER(_UINT)),
        ("block", ctypes.POINTER(_UINT)), ("shared_bytes", _SIZE), ("most_shared", _SIZE), ("array_count", _UINT),
        ("most_at_each_end", _UINT), ("schedule", _INT), ("poison", _INT), ("seed", _UINT),
    )  # fmt: skip


_PLACE = re.compile(r"\{\+([0-9a-f]+)\}")


def _with_places(complaint: str, library: str) -> str:
    """Write " at file:line" for each "{+offset into the library}", by addr2line where it is installed."""
    command, found = shutil.which("addr2line"), {}
    offsets = list(dict.fromkeys(_PLACE.findall(complaint)))
    if command and offsets:
        lines = subprocess.run(
            [command, "-e", library, *offsets], capture_output=True, text=True, check=False
        )
        for offset, line in zip(offsets, lines.stdout.splitlines(), strict=False):
            if known := re.search(r"([^/]+:[1-9]\d*)[^/]*$", line):
                found[offset] = f" at {known[1]}"
    return _PLACE.sub(lambda place: found.get(place[1], ""), complaint)
