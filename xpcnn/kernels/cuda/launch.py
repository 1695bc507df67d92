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

DTYPES: dict[str, dict[np.dtype[Any], int]] = {
    "storage": {np.dtype("float16"): 16, np.dtype("float32"): 32, np.dtype("float64"): 64},
    "winner_t": {np.dtype("uint8"): 8, np.dtype("int32"): 32},
}
"""What the .cu files leave open, the dtypes it may be, and the bits by which a macro chooses."""

FIXED: dict[str, np.dtype[Any]] = {
    "int": np.dtype("int32"), "unsigned int": np.dtype("uint32"), "long long": np.dtype("int64"),
    "u64": np.dtype("uint64"), "bool": np.dtype("bool"),
}  # fmt: skip
FLOAT, DOUBLE, BYTE, INT, LONG = (
    np.dtype(name) for name in ("float32", "float64", "uint8", "int32", "int64")
)
LIMITS = {
    dtype: (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    for dtype in FIXED.values()
    if dtype.kind in "iu"
}


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
        if arguments.keys() != signature.names:
            raise KernelError(_other_names(signature, arguments))
        types = self._types(signature, arguments, threads)
        for parameter in signature.parameters:
            if not parameter.pointer:
                value = arguments[parameter.name]
                arguments[parameter.name] = _number(value, types[parameter.type], signature, parameter)
        for parameter in signature.parameters:
            if parameter.pointer and (reason := self._unfit(parameter, types[parameter.type], arguments)):
                raise KernelError(f"{_who(signature, parameter)}: {reason}")
        blocks = -(-threads // THREADS)
        if blocks > MOST_BLOCKS:
            raise KernelError(
                f"{kernel}: {threads} threads need {blocks} blocks, and a grid has {MOST_BLOCKS}"
            )
        if THREADS > signature.threads:
            raise KernelError(
                f"{kernel}: blocks of {THREADS}, but __launch_bounds__ says {signature.threads}"
            )
        if blocks > 0:
            values = tuple(arguments[parameter.name] for parameter in signature.parameters)
            self._function(signature, types)((blocks,), (THREADS,), values)

    def _types(
        self, signature: Signature, arguments: dict[str, Any], threads: int
    ) -> dict[str, np.dtype[Any]]:
        """Settle what the .cu file leaves open: storage, real, winner_t and index_t, from the arrays given."""
        types: dict[str, np.dtype[Any]] = {**FIXED, "storage": FLOAT, "winner_t": BYTE}
        largest, stored = threads, any(p.pointer and p.type == "storage" for p in signature.parameters)
        for parameter in reversed(signature.parameters):  # so that the first to say it has the word
            if not parameter.pointer:
                continue
            array = arguments[parameter.name]
            if parameter.type in DTYPES:
                known = DTYPES[parameter.type]
                dtype: Any = getattr(array, "dtype", type(array).__name__)
                if dtype not in known:
                    raise KernelError(
                        f"{_who(signature, parameter)}: expected {' or '.join(map(str, known))}, got {dtype}"
                    )
                types[parameter.type] = dtype
            elif parameter.type == "real" and not stored and getattr(array, "dtype", FLOAT) == DOUBLE:
                types["storage"] = DOUBLE
            largest = max(largest, array.size)
        types["real"] = DOUBLE if types["storage"] == DOUBLE else FLOAT
        types["index_t"] = LONG if largest >= WIDE else INT
        return types

    def _unfit(self, parameter: Parameter, dtype: np.dtype[Any], arguments: dict[str, Any]) -> str | None:
        """Return why an array is not what a parameter wants, or None if it is."""
        array, shape = arguments[parameter.name], parameter.shape or ()
        if not isinstance(array, self.xp.ndarray):
            kind, wanted = type(array), self.xp.ndarray.__module__
            return f"expected a {wanted} array, got {kind.__module__}.{kind.__name__}; pass to_device(x)"
        if array.dtype != dtype:
            return f"expected {dtype}, got {array.dtype}; arrays of one launch agree in dtype"
        if not array.flags.c_contiguous:
            return (
                f"expected a C-contiguous array, got strides {array.strides} for {array.shape}, which a kernel does "
                "not see; pass xp.ascontiguousarray(x)"
            )
        size = math.prod(int(arguments.get(length, length)) for length in shape)
        if shape and array.size != size:
            return f"expected {' * '.join(shape)} = {size} elements, got {array.size} in {array.shape}"
        return None

    def _function(self, signature: Signature, types: dict[str, np.dtype[Any]]) -> Any:
        variant = (
            DTYPES["storage"][types["storage"]],
            64 if types["index_t"] is LONG else 32,
            DTYPES["winner_t"][types["winner_t"]],
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


def _other_names(signature: Signature, arguments: dict[str, Any]) -> str:
    names = [parameter.name for parameter in signature.parameters]
    if missing := [name for name in names if name not in arguments]:
        return f"{signature.name}: expected {len(names)} arguments; missing: {', '.join(missing)}"
    unknown = [name for name in arguments if name not in names]
    return f"{signature.name}: unknown arguments: {', '.join(unknown)}; it takes {', '.join(names)}"


def _number(value: Any, dtype: np.dtype[Any], signature: Signature, parameter: Parameter) -> Any:
    """Return a number as the parameter's type, or refuse it."""
    if getattr(value, "ndim", 0) or not isinstance(value, (int, float, np.generic)):
        raise KernelError(f"{_who(signature, parameter)}: expected a number, got {type(value).__name__}")
    if dtype in LIMITS:
        least, most = LIMITS[dtype]
        number: Any = value
        if not least <= number <= most or number != int(number):
            raise KernelError(
                f"{_who(signature, parameter)}: expected an integer from {least} to {most}, got {value}"
            )
    return dtype.type(value)
