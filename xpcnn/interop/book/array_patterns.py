"""The few calls that a pickle of arrays writes down, known by their pattern and never made.

    numpy._core.multiarray._reconstruct (ndarray, (0,), b"b")  REDUCE  (1, shape, dtype, is_fortran, bytes)  BUILD
    numpy._core.numeric._frombuffer (bytes, dtype, shape, order)  REDUCE                                protocol 5
    numpy.dtype ("f8", False, True)  REDUCE  (3, "<", None, None, None, -1, -1, 0)  BUILD
    _codecs.encode (text, "latin1")  REDUCE                                                         protocols 0-2

NumPy is given the bytes of an array, a dtype from the table here, and a shape that fits these bytes.

Source: `array_reduce` and `arraydescr_reduce` in NumPy's numpy/_core/src/multiarray.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_AXES = 32
MOST_ELEMENTS = 2**48
"""Of a shape whose zero lengths count as one: more than any machine holds."""

NUMBERS = frozenset(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)) | {"f2", "f4", "f8"}
"""The dtypes that are read, as NumPy writes them."""

NAMES = {
    ("numpy", "ndarray"), ("numpy", "dtype"), ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.numeric", "_frombuffer"), ("_codecs", "encode"), ("builtins", "bytes"),
}  # fmt: skip
"""What a pickle of arrays names, in the words of NumPy 2 and Python 3."""

RENAMED = {
    "numpy.core.multiarray": "numpy._core.multiarray", "numpy.core.numeric": "numpy._core.numeric",
    "__builtin__": "builtins",
}  # fmt: skip
"""NumPy 1's and Python 2's modules."""


class NameRefused(Exception):
    """A pickle names something that is no array; the message is the name."""


class Damaged(Exception):
    """A pickle that ends too early, or says what no pickle of arrays says; the message is what."""


class Name(NamedTuple):
    """A name that the pickle mentions. It stands for nothing."""

    module: str
    name: str


@dataclass
class Dtype:
    """A dtype: its name, and its byte order once that was read."""

    name: str
    order: str = ""


class Begun:
    """An array whose shape, dtype and bytes are still to come."""

    array: NDArray[Any] | None = None


def name(module: Any, name: Any) -> Name:
    """Return a name of `NAMES`, or refuse it."""
    if not (isinstance(module, str) and isinstance(name, str)):
        raise Damaged("it names what is no text")
    known = (RENAMED.get(module, module), name)
    if known not in NAMES:
        raise NameRefused(f"{module}.{name}")
    return Name(*known)


def reduced(name: Any, arguments: Any) -> Any:
    """Return what stands for a call: bytes, a dtype without its order, an array that is begun or whole."""
    if not (isinstance(name, Name) and isinstance(arguments, tuple)):
        raise Damaged("it calls what is no name")
    match (".".join(name), *arguments):
        case ("_codecs.encode", str(written), "latin1"):
            return _latin(written)
        case ("builtins.bytes",):
            return b""
        case ("numpy.dtype", code, 0 | False, 1 | True):
            if text(code) not in NUMBERS:
                raise Damaged(f"it has an array of {str(text(code))[:40]!r}, which is no number")
            return Dtype(str(text(code)))
        case ("numpy._core.multiarray._reconstruct", ("numpy", "ndarray"), (0 as zero,), b"b" | "b") if (
            zero is not False
        ):
            return Begun()
        case ("numpy._core.numeric._frombuffer", data, Dtype() as dtype, shape, "C" | "F" as order):
            return array(data, dtype, shape, order)
        case ("numpy._core.numeric._frombuffer", data, Dtype() as dtype, shape, "K", tuple(axes)):
            values = array(data, dtype, shape, "C")
            if not all(type(axis) is int for axis in axes) or sorted(axes) != list(range(values.ndim)):
                raise Damaged(f"the axes of an array are not the {values.ndim} that it has")
            return values.transpose(axes)
    raise Damaged(f"it calls {'.'.join(name)} as no array needs it")


def built(begun: Any, state: Any) -> None:
    """Give a dtype its byte order, or an array that is begun all that it lacks."""
    match begun, state:
        case Dtype(order=""), (3, written, None, None, None, -1, -1, 0):
            order = text(written)
            if order not in ("<", ">", "|") or (order == "|") != begun.name.endswith("1"):
                raise Damaged(f"it has a {begun.name} of byte order {str(order)[:40]!r}")
            begun.order = order
        case Begun(array=None), (1, shape, Dtype() as dtype, 0 | 1 as fortran, data):
            values = array(data, dtype, shape, "F" if fortran else "C")
            begun.array = values.astype(values.dtype.newbyteorder("="), copy=False)  # as NumPy does here
        case _:
            raise Damaged("it gives a state to what has one, or one that is not its own")


def array(data: Any, dtype: Dtype, shape: Any, order: Any) -> NDArray[Any]:
    """Return an array of these bytes, if there are as many as dtype and shape say."""
    if not dtype.order:
        raise Damaged(f"it has a {dtype.name} without a byte order")
    if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
        raise Damaged("the shape of an array is no tuple of lengths")
    if len(shape) > MOST_AXES or math.prod(max(length, 1) for length in shape) > MOST_ELEMENTS:
        raise Damaged(f"it has an array of {len(shape)} axes that no memory holds")
    if not isinstance(data, (bytes, memoryview)):
        raise Damaged("the values of an array are no bytes")
    kind = np.dtype(dtype.name).newbyteorder(dtype.order)  # type: ignore[arg-type]
    if math.prod(shape) * kind.itemsize != len(data):
        raise Damaged(f"it has an array {shape} of {dtype.name} with {len(data):,} bytes")
    flat: NDArray[Any] = np.frombuffer(data, kind) if len(data) else np.empty(0, kind)
    return flat.reshape(shape, order=order)


def text(value: Any) -> str | None:
    """Return text as it is, or what Python 2 wrote as text; None for what is neither."""
    if isinstance(value, (bytes, memoryview)):
        return str(value[:1000], "latin-1")
    return value if isinstance(value, str) else None


def _latin(written: str) -> bytes:
    try:
        return written.encode("latin-1")
    except UnicodeEncodeError:
        raise Damaged("it has characters where bytes belong") from None
