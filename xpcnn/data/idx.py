"""IDX, the file format of MNIST: two zero bytes, a type, the number of axes, their lengths, the values.

Everything is big-endian. Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcnn.errors import DatasetError

# the third byte of the file -> the type of its values
TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> NDArray[Any]:
    """Read an IDX file, plain or compressed with gzip or xz, into an array of native byte order.

    Raises
    ------
    DatasetError
        Where the file cannot be read, is truncated, corrupted or something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error}); check its name and permissions") from error
    return parse_idx(decompress(content, str(path)), str(path))


def decompress(content: bytes, name: str) -> bytes:
    """Undo gzip or xz, told apart by the first bytes and not by the file's name; plain content passes."""
    if content.startswith(b"\x1f\x8b"):
        try:
            return gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise _broken(name, "gzip", error) from error
    if content.startswith(b"\xfd7zXZ\x00"):
        lzma = _import_lzma(name)
        try:
            plain: bytes = lzma.decompress(content)
        except (lzma.LZMAError, EOFError) as error:
            raise _broken(name, "xz", error) from error
        return plain
    return content


def parse_idx(content: bytes, name: str) -> NDArray[Any]:
    """Turn the bytes of an IDX file into an array; `name` is what an error calls it.

    >>> parse_idx(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9]), "three.idx")
    array([[7, 8, 9]], dtype=uint8)
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES or content[3] == 0:
        raise DatasetError(
            f"{name}: expected an IDX file, which begins with two zero bytes, a type and a number of axes, "
            f"got {content[:4].hex(' ') or 'an empty file'}; fetch the file again"
        )
    dtype, ndim = np.dtype(TYPES[content[2]]), content[3]
    start = 4 + 4 * ndim
    if len(content) < start:
        raise DatasetError(
            f"{name}: expected a header of {start} bytes, got {len(content)}: the file is truncated; "
            "fetch it again"
        )
    shape = struct.unpack(f">{ndim}I", content[4:start])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        fault = "truncated" if len(content) < expected else "longer than its header says"
        raise DatasetError(
            f"{name}: expected {expected} bytes for shape {shape}, got {len(content)}: the file is {fault}; "
            "fetch it again"
        )
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))  # a copy: frombuffer's view is read-only


def _broken(name: str, kind: str, error: Exception) -> DatasetError:
    return DatasetError(
        f"{name}: expected a whole {kind} file, got a truncated or corrupted one ({error}); "
        "delete it and fetch it again"
    )


def _import_lzma(name: str) -> ModuleType:
    try:
        import lzma
    except ImportError as error:
        raise DatasetError(
            f"{name}: is an xz file, and this Python was built without the lzma module; install liblzma "
            "(Debian: liblzma-dev, Fedora: xz-devel, macOS: brew install xz) and build Python again, "
            "or take the .gz files: put them into a folder and pass it as data_dir"
        ) from error
    return lzma
