"""A safetensors file that knows whether it is whole: the checksum of all its bytes is in its metadata."""

import hashlib
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from xpcnn.errors import CheckpointError
from xpcnn.files import reason

LONGEST_HEADER = 2**24
"""Bytes of names, shapes and metadata: ten thousand times what ours take."""

BLANK = "0" * 64
"""What stands in the checksum's place while it is computed."""


def serialize(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file. Equal arrays and metadata make equal bytes: safetensors itself writes the metadata
    in an order that changes from run to run.
    """
    file = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, dict(metadata))
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the arrays begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + file[end:]


def seal(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file with its SHA-256 in the metadata, under "checksum"."""
    file = serialize(arrays, {**metadata, "checksum": BLANK})
    return _with_checksum(file, BLANK, hashlib.sha256(file).hexdigest())


def unseal(file: str | PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the arrays and the metadata of a file that `seal` made.

    Raises
    ------
    CheckpointError
        If it is missing, empty, cut short, damaged anywhere, or was never sealed: which of these, and what to do.
    """
    if not Path(file).is_file():
        what = "this is a folder" if Path(file).is_dir() else "no such file"
        raise CheckpointError(
            f"{file}: {what}; expected a checkpoint that scripts/train.py --output DIR --checkpoint-every STEPS wrote"
        )
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({reason(error)}); mend its permissions") from error
    if not content:
        raise CheckpointError(f"{file}: the file is empty; {_ANOTHER}")
    metadata = _metadata(file, content)
    if "checksum" not in metadata:
        raise CheckpointError(
            f"{file}: expected a checkpoint, got a safetensors file without a checksum, such as weights, which "
            "load_weights reads; only a checkpoint can be resumed"
        )
    checksum = metadata.pop("checksum")
    blank = _with_checksum(content, checksum, BLANK)
    if blank == content or hashlib.sha256(blank).hexdigest() != checksum:
        raise CheckpointError(f"{file}: its checksum does not fit its contents, so it is damaged; {_ANOTHER}")
    try:
        return load(content), metadata
    except (SafetensorError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{file}: is no safetensors file ({error}); {_ANOTHER}") from error


_ANOTHER = "copy it again, take another checkpoint, or start the run anew"


def _metadata(file: str | PathLike[str], content: bytes) -> dict[str, str]:
    end = 8 + int.from_bytes(content[:8], "little")
    try:
        if end > LONGEST_HEADER and len(content) >= end:  # as text it would take many times its bytes
            raise ValueError(end)
        if len(content) < max(end, 10):
            raise EOFError(end)
        header = json.loads(content[8:end])
        arrays = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        if len(content) < end + max(arrays, default=0):
            raise EOFError(end + max(arrays))
        return {name: str(value) for name, value in header.get("__metadata__", {}).items()}
    except EOFError as error:
        raise CheckpointError(
            f"{file}: holds {len(content):,} bytes of the {error.args[0]:,} that its beginning announces: it is cut "
            f"short or damaged; {_ANOTHER}"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise CheckpointError(
            f"{file}: its header cannot be read ({type(error).__name__}), so it is damaged or no safetensors file; "
            f"{_ANOTHER}"
        ) from error


def _with_checksum(file: bytes, old: str, new: str) -> bytes:
    """Put another checksum in the place of one. Inside of strings JSON writes quotes otherwise, so the key is one."""
    return file.replace(f'"checksum":"{old}"'.encode(), f'"checksum":"{new}"'.encode(), 1)
