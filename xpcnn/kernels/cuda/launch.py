"""The checked launcher: the only way from Python to a kernel.

A raw kernel looks at nothing. It reads a float64 array as floats, a transposed view as if it were not, a
Python float as the first half of a double, and beyond the end of what is too short. So every launch here is held
against the signature that stands in the .cu file; see `source`.
"""

import math
from typing import Any

import numpy as np

from xpcnn.errors import KernelError
from xpcnn.kernels.cuda.source import Parameter, Signature, signatures, text

OPTIONS = ("-std=c++17", "-ftz=true")

THREADS = 256
"""Threads of a block: eight warps are enough to hide waiting for memory, and few enough for a row's sum."""

MOST_BLOCKS = 2**31 - 1
WIDE = 2**30
"""Elements from which on positions need 64 bits: a position plus a grid's step must not pass 2^31."""

STORAGE = {"float16": 16, "float32": 32, "float64": 64}
WINNER = {"uint8": 8, "int32": 32}
FIXED = {
    "int": "int32", "unsigned int": "uint32", "long long": "int64", "u64": "uint64", "bool": "bool",
}  # fmt: skip


class Device:
    """An array module, CuPy or what stands in for it, and the kernels compiled for it so far."""

    def __init__(self, module: Any) -> None:
        self.xp = module
        self._functions: dict[tuple[str, int, int, int], Any] = {}

    def contiguous(self, *arrays: Any) -> list[Any]:
        """Return arrays as kernels need them: C-contiguous, copied if they are not."""
        return [self.xp.ascontiguousarray(array) for array in arrays]

    def launch(self, kernel: str, threads: int, **arguments: Any) -> None:
        """Launch a kernel over at least so many threads, in blocks of 256; over none, do nothing.

        Arguments go by the names in the .cu file. Python's numbers become what the parameter is; arrays are taken
        as they are or refused.

        Raises
        ------
        KernelError
            Naming the kernel and the argument: one missing or unknown, of a wrong dtype, not contiguous, or of
            another size than the shape in the .cu file says.
        """
        signature = signatures().get(kernel)
        if signature is None:
            raise KernelError(f"{kernel}: no such kernel; there are {', '.join(signatures())}")
        names = [parameter.name for parameter in signature.parameters]
        if missing := [name for name in names if name not in arguments]:
            raise KernelError(f"{kernel}: expected {len(names)} arguments; missing: {', '.join(missing)}")
        if unknown := [name for name in arguments if name not in names]:
            raise KernelError(
                f"{kernel}: unknown arguments: {', '.join(unknown)}; it takes {', '.join(names)}"
            )
        types = self._types(signature, arguments, threads)
        numbers = {
            parameter.name: _number(
                arguments[parameter.name], np.dtype(types[parameter.type]), _who(signature, parameter)
            )
            for parameter in signature.parameters
            if not parameter.pointer
        }
        for parameter in signature.parameters:
            if parameter.pointer:
                array = arguments[parameter.name]
                self._check_array(
                    array, parameter, types[parameter.type], numbers, _who(signature, parameter)
                )
        if threads < 1:
            return
        values = tuple({**arguments, **numbers}[name] for name in names)
        blocks = math.ceil(threads / THREADS)
        if blocks > MOST_BLOCKS:
            raise KernelError(
                f"{kernel}: {threads} threads need {blocks} blocks, and a grid has {MOST_BLOCKS}"
            )
        if THREADS > signature.threads:
            raise KernelError(
                f"{kernel}: blocks of {THREADS}, but __launch_bounds__ says {signature.threads}"
            )
        self._function(signature, types)((blocks,), (THREADS,), values)

    def _types(self, signature: Signature, arguments: dict[str, Any], threads: int) -> dict[str, str]:
        """Settle what the .cu file leaves open: storage, real, winner_t and index_t, from the arrays given."""
        types = {**FIXED, "storage": "float32", "winner_t": "uint8", "index_t": "int32"}
        for parameter in reversed(signature.parameters):  # so that the first to say it has the word
            if parameter.pointer and parameter.type in ("storage", "winner_t"):
                array, known = arguments[parameter.name], STORAGE if parameter.type == "storage" else WINNER
                dtype = str(getattr(array, "dtype", type(array).__name__))
                if dtype not in known:
                    who = _who(signature, parameter)
                    raise KernelError(f"{who}: expected {' or '.join(known)}, got {dtype}")
                types[parameter.type] = dtype
        types["real"] = "float64" if types["storage"] == "float64" else "float32"
        sizes = (arguments[parameter.name].size for parameter in signature.parameters if parameter.pointer)
        if max(threads, *sizes) >= WIDE:
            types["index_t"] = "int64"
        return types

    def _check_array(
        self, value: Any, parameter: Parameter, dtype: str, numbers: dict[str, Any], who: str
    ) -> None:
        if not isinstance(value, self.xp.ndarray):
            raise KernelError(
                f"{who}: expected a {self.xp.ndarray.__module__} array, got {type(value).__module__}."
                f"{type(value).__name__}; pass to_device(x)"
            )
        if value.dtype != dtype:
            raise KernelError(
                f"{who}: expected {dtype}, got {value.dtype}; arrays of one launch agree in dtype"
            )
        if not value.flags.c_contiguous:
            raise KernelError(
                f"{who}: expected a C-contiguous array, got strides {value.strides} for {value.shape}, which a kernel "
                "does not see; pass xp.ascontiguousarray(x)"
            )
        if parameter.shape is not None:
            lengths = [int(name) if name.isdigit() else int(numbers[name]) for name in parameter.shape]
            if value.size != math.prod(lengths):
                raise KernelError(
                    f"{who}: expected {' * '.join(parameter.shape)} = {math.prod(lengths)} elements, got {value.size} "
                    f"in {value.shape}"
                )

    def _function(self, signature: Signature, types: dict[str, str]) -> Any:
        variant = (
            STORAGE[types["storage"]],
            64 if types["index_t"] == "int64" else 32,
            WINNER[types["winner_t"]],
        )
        key = (signature.name, *variant)
        if key not in self._functions:
            module = self.xp.RawModule(code=text(signature.file), options=(*OPTIONS, *macros(*variant)))
            for other in signatures().values():
                if other.file == signature.file:
                    self._functions[other.name, *variant] = module.get_function(other.name)
        return self._functions[key]


def macros(storage: int = 32, index: int = 32, winner: int = 8) -> tuple[str, ...]:
    """Return the compiler's options that choose among the types of one text, in bits."""
    return f"-DXPCNN_STORAGE={storage}", f"-DXPCNN_INDEX={index}", f"-DXPCNN_WINNER={winner}"


def _who(signature: Signature, parameter: Parameter) -> str:
    return f"{signature.name}: argument {parameter.name!r}"


def _number(value: Any, dtype: np.dtype[Any], who: str) -> np.generic:
    if getattr(value, "ndim", 0) or not isinstance(value, (int, float, np.generic)):
        raise KernelError(f"{who}: expected a number, got {type(value).__name__}")
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if value != int(value) or not limits.min <= int(value) <= limits.max:
            raise KernelError(f"{who}: expected an integer from {limits.min} to {limits.max}, got {value}")
    converted: np.generic = dtype.type(value)
    return converted
