"""Weights on disk: safetensors, a format that holds numbers and no code."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from os import PathLike

import numpy as np

from xpcnn import __version__
from xpcnn._disk.files import replacing
from xpcnn.backend import to_device, to_host
from xpcnn.checkpoint._sealed import read, seal
from xpcnn.errors import CheckpointError, UnsealedWarning
from xpcnn.layers import Buffer, Layer, Parameter


def save_weights(model: Layer, file: str | PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Write parameters and persistent buffers under their dotted names, with `metadata`, and xpcnn's version.

    Equal weights and metadata make equal bytes. The file is sealed by a checksum in its metadata: `read_weights` finds
    every wrong bit, and other programs read it as any safetensors file. A previous file stays until the new one is
    complete.

    Raises
    ------
    CheckpointError
        If `metadata` has an entry "checksum" or "sealed".
    OSError
        Where the file cannot be written.
    """
    arrays = {name: to_host(value.data) for name, value in _state(model).items()}
    with replacing(file) as handle:
        handle.write(seal(arrays, {"xpcnn": __version__, **(metadata or {})}))


def load_weights(model: Layer, file: str | PathLike[str]) -> None:
    """Read weights that `save_weights` wrote into a model of the same structure, whatever the backend.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or of another model, which is then unchanged.

    Warns
    -----
    UnsealedWarning
        As `read_weights`.
    """
    arrays, _ = read_weights(file, stacklevel=3)
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


def read_weights(
    file: str | PathLike[str], *, stacklevel: int = 2
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays of a weights file by name, and its metadata.

    bfloat16, which NumPy does not have, becomes float32. A warning points `stacklevel` calls up.

    Raises
    ------
    CheckpointError
        If the file is missing, is no safetensors file, or its seal is broken.

    Warns
    -----
    UnsealedWarning
        If the file has no seal, as those of other programs and of earlier versions: damage to its numbers would not
        show.
    """
    arrays, metadata, sealed = read(file)
    if not sealed:
        warnings.warn(
            UnsealedWarning(
                f"{file}: has no seal, so damage to its numbers would not show; save_weights writes one that has"
            ),
            stacklevel=stacklevel,
        )
    return arrays, metadata


def _state(model: Layer) -> dict[str, Parameter | Buffer]:
    buffers = {name: buffer for name, buffer in model.named_buffers() if buffer.persistent}
    return {**dict(model.named_parameters()), **buffers}
