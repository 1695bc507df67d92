"""Safetensors files with the SHA-256 of all their bytes in the metadata, which shows damage.

Every program that reads safetensors reads them. The seal is two entries of the metadata, "checksum" and "sealed", so
that no single wrong bit makes a sealed file look like an unsealed one.
"""

import hashlib
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from xpcnn.errors import CheckpointError

LONGEST_HEADER = 2**24
"""Bytes of names, shapes and metadata: ten thousand times those of our files."""

File = str | PathLike[str]

BLANK = "0" * 64
"""The checksum while it is computed."""
CHECKSUM, SEALED = "checksum", "sealed"

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
"""The format's dtypes, as NumPy's. bfloat16, the upper half of a float32, becomes one."""


class Contents(NamedTuple):
    """The arrays of a file, its metadata without the seal, and whether it has one."""

    arrays: dict[str, NDArray[Any]]
    metadata: dict[str, str]
    sealed: bool


class Kind(NamedTuple):
    """What a file should be, and what the user can do if it is not."""

    expected: str
    remedy: str


CHECKPOINT = Kind(
    "a checkpoint that xpcnn train --checkpoint-every STEPS wrote",
    "copy it again, use another checkpoint, or start the run again",
)
WEIGHTS = Kind("weights that xpcnn train wrote", "copy it again, or train again")


def seal(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return a sealed safetensors file. Equal arrays and metadata make equal bytes.

    Raises
    ------
    CheckpointError
        If the metadata has an entry of the seal.
    """
    if taken := metadata.keys() & {CHECKSUM, SEALED}:
        raise CheckpointError(f"metadata: {min(taken)!r} is the seal's own entry; choose another name")
    file = save(
        {name: np.asarray(array, order="C") for name, array in arrays.items()},
        {**metadata, CHECKSUM: BLANK, SEALED: "sha256"},
    )
    end = _header_end(file)
    header = json.loads(file[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))  # its order changes from run to run
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the arrays begin at a multiple of 8 bytes
    head, body = len(text).to_bytes(8, "little") + text, memoryview(file)[end:]
    return b"".join((_with_checksum(head, BLANK, _sha256(head, body)), body))


def unseal(file: File) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the arrays and the metadata of a checkpoint, a file of `seal`.

    Raises
    ------
    CheckpointError
        As `read`; and if it was never sealed.
    """
    arrays, metadata, sealed = read(file, CHECKPOINT)
    if not sealed:
        raise CheckpointError(
            f"{file}: expected a checkpoint, got a safetensors file without a checksum, such as weights, which "
            "load_weights reads; only a checkpoint can be resumed"
        )
    return arrays, metadata


def read(file: File, kind: Kind = WEIGHTS) -> Contents:
    """Return the contents of a safetensors file, sealed or not; a seal is checked.

    Raises
    ------
    CheckpointError
        If it is missing, empty, cut short or damaged.
    """
    if not Path(file).is_file():
        what = "this is a folder" if Path(file).is_dir() else "no such file"
        raise CheckpointError(f"{file}: {what}; expected {kind.expected}")
    try:
        content = Path(file).read_bytes()
    except (OSError, MemoryError) as error:
        why = getattr(error, "strerror", None) or "it does not fit into the memory"
        raise CheckpointError(
            f"{file}: expected a safetensors file, but reading it failed ({why}); make it readable for this user"
        ) from error
    metadata = _metadata(file, content, kind)
    sealed = not metadata.keys().isdisjoint((CHECKSUM, SEALED))
    if sealed and not _whole(content, metadata.get(CHECKSUM, "")):
        raise CheckpointError(
            f"{file}: its seal is broken: its checksum does not fit its contents, so it is damaged; {kind.remedy}"
        )
    try:
        arrays = {name: _array(**entry) for name, entry in deserialize(content)}  # type: ignore[no-untyped-call]
    except (SafetensorError, TypeError, ValueError, KeyError, OverflowError) as error:
        raise CheckpointError(
            f"{file}: expected a safetensors file, but reading it failed ({error}); it is damaged or of another kind: "
            f"{kind.remedy}"
        ) from error
    return Contents(arrays, {k: v for k, v in metadata.items() if k not in (CHECKSUM, SEALED)}, sealed)


def _array(dtype: str, shape: list[int], data: Any) -> NDArray[Any]:
    if dtype not in DTYPES:
        raise TypeError(f"dtype {dtype} has no counterpart in NumPy")
    array = np.frombuffer(data, DTYPES[dtype]).reshape(shape)
    if dtype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _metadata(file: File, content: bytes, kind: Kind) -> dict[str, str]:
    refused = f"{file}: expected a safetensors file, but "
    if not content:
        raise CheckpointError(f"{refused}the file is empty, so it is damaged; {kind.remedy}")
    try:
        end = _header_end(content)
        if len(content) < max(end, 10):
            raise EOFError(end)
        if end > LONGEST_HEADER:  # as text it would take many times its bytes
            raise ValueError(end)
        header = json.loads(content[8:end])
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        if len(content) < end + max(ends, default=0):
            raise EOFError(end + max(ends))
        return {name: str(value) for name, value in header.get("__metadata__", {}).items()}
    except EOFError as error:
        raise CheckpointError(
            f"{refused}it holds {len(content):,} bytes of the {error.args[0]:,} that its header announces: it is "
            f"cut short or damaged; {kind.remedy}"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise CheckpointError(
            f"{refused}its header cannot be read ({type(error).__name__}), so it is damaged or of another kind; "
            f"{kind.remedy}"
        ) from error


def _header_end(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def _whole(content: bytes, checksum: str) -> bool:
    end = _header_end(content)
    blank = _with_checksum(content[:end], checksum, BLANK)
    return blank != content[:end] and _sha256(blank, memoryview(content)[end:]) == checksum


def _sha256(head: bytes, body: memoryview) -> str:
    digest = hashlib.sha256(head)
    digest.update(body)
    return digest.hexdigest()


def _with_checksum(head: bytes, old: str, new: str) -> bytes:
    """Replace the checksum. JSON escapes quotes inside strings, so only the key matches."""
    return head.replace(f'"{CHECKSUM}":"{old}"'.encode(), f'"{CHECKSUM}":"{new}"'.encode(), 1)
