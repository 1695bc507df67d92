"""IDX, the file format of MNIST: two zero bytes, a type, the number of axes, their lengths, the values.

Everything is big-endian. Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".
"""

import functools
import math
import struct
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcnn._disk.files import read_bounded, reason
from xpcnn.errors import DatasetError

# the third byte of the file -> the type of its values
TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


LARGEST = 2**30
"""Bytes of a file, plain or unpacked: 1.3 million images of 28 x 28, where MNIST has 60,000."""

MOST_AXES = 32
LONGEST_HEADER = 4 + 4 * 255
XZ_MEMORY = 2**28
"""Bytes that unpacking may take in addition to the result: four times as many as ``xz -9`` asks for."""


def read_idx(path: Path, most: int = LARGEST) -> NDArray[Any]:
    """Read an IDX file, plain or compressed with gzip or xz, into an array of native byte order.

    Its header says how many bytes follow, and no more are unpacked. A file of more than `most` bytes is not unpacked.

    Raises
    ------
    DatasetError
        Where the file cannot be read, is truncated, corrupted, too large or something else.
    """
    try:
        content = read_bounded(path, most)
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read ({reason(error)}); check its name and permissions"
        ) from error
    name = str(path)
    if content is None:
        raise DatasetError(
            f"{name}: expected an IDX file of up to {most:,} bytes, got a longer one; split it"
        )
    _, _, expected = _header(_unpacked(content, name, LONGEST_HEADER), name)
    if expected > most:
        raise DatasetError(
            f"{name}: its header announces {expected:,} bytes, more than the {most:,} that are expected here; fetch "
            "the file again, or split it"
        )
    return parse_idx(_unpacked(content, name, expected + 1), name)


def decompress(content: bytes, name: str, most: int = LARGEST) -> bytes:
    """Unpack gzip or xz, recognised by the first bytes and not by the file's name; other content is returned as it is.

    Raises
    ------
    DatasetError
        If it is truncated or corrupted, or unpacks to more than `most` bytes, at which unpacking ends.
    """
    plain = _unpacked(content, name, most + 1)
    if len(plain) > most:
        raise DatasetError(f"{name}: expected up to {most:,} bytes, and it unpacks to more; fetch it again")
    return plain


def _unpacked(content: bytes, name: str, most: int) -> bytes:
    """Unpack up to `most` bytes of the content, one or several streams of gzip or xz with zeros between them."""
    begin: Any
    errors: Any
    if content.startswith(b"\x1f\x8b"):
        kind, errors, begin = "gzip", (zlib.error,), lambda: zlib.decompressobj(wbits=31)
    elif content.startswith(b"\xfd7zXZ\x00"):
        lzma = _import_lzma(name)
        kind, errors = "xz", (lzma.LZMAError, MemoryError)
        begin = functools.partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
    else:
        return content[:most]
    plain = b""
    try:
        while content:
            stream = begin()
            plain += stream.decompress(content, most - len(plain))
            if len(plain) == most:
                break
            if not stream.eof:
                raise EOFError("it ends before its end-of-stream marker")
            content = stream.unused_data.lstrip(b"\0")
    except (EOFError, *errors) as error:
        raise DatasetError(
            f"{name}: expected a whole {kind} file, got a truncated or corrupted one ({error}); "
            "delete it and fetch it again"
        ) from error
    return plain


def parse_idx(content: bytes, name: str) -> NDArray[Any]:
    """Convert the bytes of an IDX file to an array; errors call the file `name`.

    >>> parse_idx(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9]), "three.idx")
    array([[7, 8, 9]], dtype=uint8)
    """
    dtype, shape, expected = _header(content, name)
    if len(content) != expected:
        fault = "truncated" if len(content) < expected else "longer than its header says"
        raise DatasetError(
            f"{name}: expected {expected} bytes for shape {shape}, got {len(content)}: the file is {fault}; "
            "fetch it again"
        )
    values = np.frombuffer(content, dtype, offset=4 + 4 * len(shape)).reshape(shape)
    return values.astype(dtype.newbyteorder("="))  # a copy: frombuffer's view is read-only


def _header(content: bytes, name: str) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return dtype, shape, and the size in bytes of the whole file."""
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
    if ndim > MOST_AXES or math.prod(max(length, 1) for length in shape) > 2**48:
        raise DatasetError(
            f"{name}: its header announces {ndim} axes that no memory holds; fetch the file again"
        )
    return dtype, shape, start + math.prod(shape) * dtype.itemsize


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
