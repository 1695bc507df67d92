"""Weights on disk: safetensors, a format that holds numbers and no code."""

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from xpcnn import __version__
from xpcnn.backend import to_device, to_host
from xpcnn.errors import CheckpointError
from xpcnn.files import replacing
from xpcnn.layers.base import Buffer, Layer, Parameter


def save_weights(model: Layer, file: str | PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Write parameters and persistent buffers under their dotted names, with `metadata`, and xpcnn's version.

    Equal weights and metadata make equal bytes. The file is written beside its target and renamed, so a former
    one stays whole until then.
    """
    arrays = {name: np.ascontiguousarray(to_host(value.data)) for name, value in _state(model).items()}
    with replacing(file) as handle:
        handle.write(_in_order(save(arrays, {"xpcnn": __version__, **(metadata or {})})))


def load_weights(model: Layer, file: str | PathLike[str]) -> None:
    """Read weights that `save_weights` wrote into a model of the same structure, whatever the backend.

    Raises
    ------
    CheckpointError
        If the file is missing, unreadable, or of another model; the model is then as it was.
    """
    arrays, _ = read_weights(file)
    state = _state(model)
    wrong = [f"{name} is missing" for name in state.keys() - arrays.keys()]
    wrong += [f"{name} is not in the model" for name in arrays.keys() - state.keys()]
    for name in state.keys() & arrays.keys():
        found, own = ((array.dtype, tuple(array.shape)) for array in (arrays[name], state[name].data))
        if (found[0].kind, found[1]) != (own[0].kind, own[1]):  # another precision is converted
            wrong.append(f"{name} is {found[0]} {found[1]}, the model's {own[0]} {own[1]}")
    if wrong:
        shown = "; ".join(sorted(wrong)[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise CheckpointError(
            f"{file}: expected the weights of {model}, but {shown}; build the model that was saved (its name is in "
            "the file's metadata, see read_weights)"
        )
    for name, value in state.items():
        value.data[...] = to_device(arrays[name].astype(value.data.dtype))


def read_weights(file: str | PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays of a weights file by name, and its metadata.

    Raises
    ------
    CheckpointError
        If the file is missing or is not a whole safetensors file.
    """
    if not Path(file).is_file():
        what = "this is a folder" if Path(file).is_dir() else "no such file"
        raise CheckpointError(f"{file}: {what}; expected weights that scripts/train.py --output DIR wrote")
    try:
        with safe_open(file, framework="numpy") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
    except (
        SafetensorError,
        OSError,
        TypeError,
        ValueError,
    ) as error:  # TypeError: a dtype that NumPy has not
        raise CheckpointError(
            f"{file}: expected a safetensors file, but reading it failed ({error}); it is damaged or of another "
            "kind: train again, or copy it again"
        ) from error


def _state(model: Layer) -> dict[str, Parameter | Buffer]:
    buffers = {name: buffer for name, buffer in model.named_buffers() if buffer.persistent}
    return {**dict(model.named_parameters()), **buffers}


def _in_order(file: bytes) -> bytes:
    """Sort the metadata in a file's header, which safetensors writes in an order that changes from run to run."""
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the arrays begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + file[end:]
