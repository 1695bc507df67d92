"""Weights to and from PyTorch and torchvision. PyTorch itself is needed for ``.pth`` files only.

A name here is a name there once what our containers add has been taken off (`RULES`); the networks of
`xpcnn.models` name their layers as torchvision does. A network whose names are others altogether is matched
by structure: layer by layer, in order, by kind and shape.
"""

import re
import warnings
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from xpcnn._disk.files import replacing
from xpcnn.backend import to_device, to_host
from xpcnn.checkpoint import read_weights
from xpcnn.checkpoint._sealed import seal
from xpcnn.errors import CheckpointError, MatchedByOrderWarning
from xpcnn.interop.torch._names import AUXILIARY, RULES, sisters, torch_name
from xpcnn.layers import Buffer, Conv, Layer, Parameter

Arrays = dict[str, np.ndarray]
File = str | PathLike[str]

__all__ = ["RULES", "load", "save", "torch_name"]


def load(model: Layer, source: File | Mapping[str, Any]) -> dict[str, str]:
    """Read a PyTorch network's weights into a model of the same structure, whatever the backend.

    Parameters
    ----------
    model : Layer
    source : file or state dict
        A ``.safetensors`` file; any other is read by ``torch.load(..., weights_only=True)``. Or the state dict
        itself, of tensors or arrays. Where names differ, layers are matched in order, and only a state dict or a
        ``.pth`` file has one: safetensors are sorted by name.

    Returns
    -------
    dict
        The name in the source that each parameter and buffer of the model was read from, by its name in the model.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or holds another network: what is missing, unexpected or of another shape, by
        name, and which network of `xpcnn.models` has these names. The model is then as it was.

    Warns
    -----
    MatchedByOrderWarning
        If layers were matched in order. PyTorch's is the order in which a class defines its layers, which need not be
        the one in which its forward() calls them: compare the mapping for layers of equal shapes, which it names.
    UnsealedWarning
        For a ``.safetensors`` file that `save` did not write.
    """
    where, arrays, ordered = _read(source)
    values, own = _values(model), _own_names(model)
    origin = _same_names(values, own, arrays)
    in_order = not origin and ordered and _in_order(values, arrays)
    origin = origin or in_order or {name: name for name in values}
    used, found = set(origin.values()), {name: arrays.get(other) for name, other in origin.items()}
    wrong = [f"{name} is missing" for name, array in found.items() if array is None]
    wrong += [f"{name} is unexpected" for name in arrays if name not in used and not AUXILIARY.match(name)]
    wrong += [
        f"{name} is {array.shape}, the model's {tuple(values[name].data.shape)}"
        for name, array in found.items()
        if array is not None and array.shape != tuple(values[name].data.shape)
    ]
    if wrong:
        shown = "; ".join(wrong[:4]) + (f"; and {len(wrong) - 4} more" if len(wrong) > 4 else "")
        raise CheckpointError(
            f"{where}: expected the weights of {model}, but {shown}; build the model with the same layers, in the "
            "same order, and as many classes"
            + ("" if ordered else ", or pass the state dict, which has an order")
            + sisters(arrays, values.keys())
        )
    if in_order:
        warnings.warn(MatchedByOrderWarning(_said(where, in_order, values, own)), stacklevel=2)
    for name, value in values.items():
        value.data[...] = to_device(arrays[origin[name]].astype(value.data.dtype))
    return {own[name]: origin[name] for name in values}


def save(model: Layer, file: File) -> None:
    """Write a state dict that the same network loads in PyTorch: safetensors, or ``.pth`` by PyTorch.

    A network of `xpcnn.models` and its torchvision namesake agree on every name, so there it is
    ``network.load_state_dict(safetensors.torch.load_file(file))``.

    Raises
    ------
    CheckpointError
        For a ``.pth`` file without PyTorch.
    """
    arrays = {name: np.array(to_host(value.data), order="C") for name, value in _values(model).items()}
    if Path(file).suffix == ".safetensors":
        with replacing(file) as handle:
            handle.write(seal(arrays, {}))
        return
    torch = _torch(file)
    with replacing(file) as handle:
        torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, handle)


def _values(model: Layer) -> dict[str, Parameter | Buffer]:
    """The model's state under PyTorch's names, layer by layer: parameters, then buffers."""
    values: dict[str, Parameter | Buffer] = {}
    for prefix, layer in model.named_layers():
        if isinstance(layer, Conv) and (layer.data_format, layer.flip_kernel) != ("NCHW", False):
            raise CheckpointError(
                f"{layer}: PyTorch keeps weights for NCHW and cross-correlation; build the model without "
                "data_format and flip_kernel"
            )
        for kind in (Parameter, Buffer):
            for name, value in vars(layer).items():
                if isinstance(value, kind) and getattr(value, "persistent", True):
                    there = torch_name(f"{prefix}.{name}" if prefix else name)
                    if there in values:
                        raise CheckpointError(
                            f"{model}: two of its arrays would be {there} in PyTorch; rename a layer"
                        )
                    values[there] = value
    return values


def _own_names(model: Layer) -> dict[str, str]:
    """Return the names in the model by PyTorch's."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {torch_name(name): name for name, _ in named}


def _same_names(values: Mapping[str, Any], own: Mapping[str, str], arrays: Arrays) -> dict[str, str] | None:
    """Return where each value is, if all names are there: torchvision's, our own, or `torch_network.network`'s."""
    names = {name: own[name] for name in values}
    twins = {name: re.sub(r"\brunning_variance$", "running_var", other) for name, other in names.items()}
    for candidate in ({name: name for name in values}, twins, names):
        rest = arrays.keys() - set(candidate.values())
        if arrays.keys() >= set(candidate.values()) and all(map(AUXILIARY.match, rest)):
            return candidate
    return None


def _in_order(values: Mapping[str, Any], arrays: Arrays) -> dict[str, str] | None:
    """Return where each value is, layer by layer, if as many layers hold the same kinds of arrays."""
    ours, theirs = _by_layer(values), _by_layer(arrays)
    if len(ours) != len(theirs):
        return None
    origin: dict[str, str] = {}
    for (prefix, kinds), (other, other_kinds) in zip(ours.items(), theirs.items(), strict=True):
        if kinds != other_kinds:
            return None
        origin |= {prefix + kind: other + kind for kind in kinds}
    return origin


def _said(where: str, origin: Mapping[str, str], values: Mapping[str, Any], own: Mapping[str, str]) -> str:
    """Say that layers were matched in order: which, and which of them are of equal shapes."""
    layers: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    pairs: dict[str, str] = {}
    for name, other in origin.items():
        prefix, _, kind = own[name].rpartition(".")
        layers.setdefault(prefix, []).append((kind, tuple(values[name].data.shape)))
        pairs[prefix] = other.rpartition(".")[0]
    alike: dict[frozenset[tuple[str, tuple[int, ...]]], list[str]] = {}
    for prefix, shapes in layers.items():
        alike.setdefault(frozenset(shapes), []).append(prefix)
    equal = [" and ".join(prefixes) for prefixes in alike.values() if len(prefixes) > 1]
    matched = _first([f"{ours} is {theirs}" for ours, theirs in pairs.items()])
    doubt = (
        f"{_first(equal)} are of equal shapes, so nothing but the order tells them apart; " if equal else ""
    )
    return (
        f"{where}: its names are not the model's, so its layers were matched in order: {matched}; {doubt}compare the "
        "mapping that load() returns with the order in which the network calls its layers"
    )


def _first(texts: list[str], most: int = 6) -> str:
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def _by_layer(names: Mapping[str, Any]) -> dict[str, set[str]]:
    """Group names by layer, in order: {"layer.": {"weight", "bias"}}."""
    layers: dict[str, set[str]] = {}
    for name in names:
        prefix, kind = name[: name.rfind(".") + 1], name[name.rfind(".") + 1 :]
        layers.setdefault(prefix, set()).add(kind)
    return layers


def _read(source: File | Mapping[str, Any]) -> tuple[str, Arrays, bool]:
    """Return where the arrays come from, the arrays, and whether their order is the network's."""
    if not isinstance(source, Mapping):
        where = str(source)
        if Path(source).suffix == ".safetensors":
            return where, _without_counters(read_weights(source)[0]), False
        if not Path(source).is_file():
            raise CheckpointError(
                f"{where}: no such file; pass a .safetensors or a .pth file, or a state dict"
            )
        torch = _torch(source)
        try:
            _check_unpacked(Path(source))
            source = torch.load(source, map_location="cpu", weights_only=True)
        except Exception as error:  # zip, pickle and storage errors of many kinds
            said = " ".join(str(error).split()) or type(error).__name__
            raise CheckpointError(
                f"{where}: torch.load(..., weights_only=True) failed ({said:.200}); save the state dict alone: "
                "torch.save(network.state_dict(), FILE)"
            ) from error
        if not isinstance(source, Mapping):
            raise CheckpointError(
                f"{where}: expected a state dict, got {type(source).__name__}; save network.state_dict()"
            )
    else:
        where = "state dict"
    return where, _without_counters({name: _array(name, value) for name, value in source.items()}), True


def _check_unpacked(file: Path) -> None:
    """Raise unless the parts of a ``.pth`` file are as long as the file: PyTorch does not compress them."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > file.stat().st_size:
            raise ValueError(f"it unpacks to {unpacked:,} bytes, and a file of PyTorch's is not compressed")


def _array(name: str, value: Any) -> np.ndarray:
    if not isinstance(name, str):
        raise CheckpointError(f"state dict: expected names, got {name!r:.80}; pass network.state_dict()")
    if hasattr(value, "detach"):
        try:
            value = value.detach().cpu()
            if str(value.dtype) == "torch.bfloat16":  # which NumPy does not know
                if value.numel() * value.element_size() > value.untyped_storage().nbytes():
                    raise ValueError("it is larger than the numbers that it holds")
                value = value.float()
            value = value.numpy()
        except Exception as error:  # sparse, quantized, of no device, ...: PyTorch has many kinds
            said = " ".join(str(error).split()) or type(error).__name__
            raise CheckpointError(
                f"state dict: {name} cannot be an array ({said:.200}); pass plain tensors"
            ) from error
    if not isinstance(value, np.ndarray):
        raise CheckpointError(
            f"state dict: expected {name} to be a tensor, got {type(value).__name__}; pass network.state_dict(), "
            "which a training checkpoint may hold under 'state_dict' or 'model'"
        )
    return value


def _without_counters(arrays: Arrays) -> Arrays:
    """Leave out BatchNorm's count of batches, which only an averaging momentum reads."""
    return {name: array for name, array in arrays.items() if not name.endswith("num_batches_tracked")}


def _torch(file: File) -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"{file}: only PyTorch reads and writes this kind of file, and it is not installed; use .safetensors, or "
            "run: pip install torch"
        ) from error
    return torch
