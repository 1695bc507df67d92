"""Weights to and from PyTorch and torchvision. PyTorch itself is needed for ``.pth`` files only.

A name here is a name there once what our containers add has been taken off (`RULES`); the networks of
`xpcnn.models` name their layers as torchvision does. A network whose names are others altogether is matched
by structure: layer by layer, in order, by kind and shape.
"""

import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from xpcnn.backend import to_device, to_host
from xpcnn.checkpoint import read_weights
from xpcnn.errors import CheckpointError
from xpcnn.files import replacing
from xpcnn.layers import Buffer, Conv, Layer, Parameter
from xpcnn.sealed import seal

Arrays = dict[str, np.ndarray]
File = str | PathLike[str]

RULES = (
    (r"\btrunk\d+\.", ""),  # the pieces of Auxiliary
    (r"\bhead(\d+)\b", lambda match: f"aux{int(match[1]) + 1}"),
    (r"\bresidual\.body\.", ""),
    (r"\bresidual\.shortcut\b", "downsample"),
    (r"\brunning_variance$", "running_var"),
)
"""(pattern, replacement): our name becomes torchvision's by these, one after another."""

AUXILIARY = re.compile(r"aux\d+\.")
"""The heads that torchvision's GoogLeNet has unless ``aux_logits=False``, its pretrained weights among them."""


def load(model: Layer, source: File | Mapping[str, Any]) -> None:
    """Read a PyTorch network's weights into a model of the same structure, whatever the backend.

    Parameters
    ----------
    model : Layer
    source : file or state dict
        A ``.safetensors`` file; any other is read by ``torch.load(..., weights_only=True)``. Or the state dict
        itself, of tensors or arrays. Where names differ, layers are matched in order, and only a state dict or a
        ``.pth`` file has one: safetensors are sorted by name.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or holds another network: what is missing, unexpected or of another shape, by
        name. The model is then as it was.
    """
    where, arrays, ordered = _read(source)
    values = _values(model)
    if values.keys() != arrays.keys() and ordered:
        arrays = _in_order(values, arrays) or arrays
    wrong = [f"{name} is missing" for name in values if name not in arrays]
    wrong += [f"{name} is unexpected" for name in arrays if name not in values and not AUXILIARY.match(name)]
    wrong += [
        f"{name} is {arrays[name].shape}, the model's {tuple(value.data.shape)}"
        for name, value in values.items()
        if name in arrays and arrays[name].shape != tuple(value.data.shape)
    ]
    if wrong:
        shown = "; ".join(wrong[:4]) + (f"; and {len(wrong) - 4} more" if len(wrong) > 4 else "")
        raise CheckpointError(
            f"{where}: expected the weights of {model}, but {shown}; build the model with the same layers, in the "
            "same order, and as many classes"
            + ("" if ordered else ", or pass the state dict, which has an order")
        )
    for name, value in values.items():
        value.data[...] = to_device(arrays[name].astype(value.data.dtype))


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


def torch_name(name: str) -> str:
    """Return what PyTorch calls a parameter or buffer of ours.

    >>> torch_name("layer2.0.residual.shortcut.1.running_variance")
    'layer2.0.downsample.1.running_var'
    """
    for pattern, replacement in RULES:
        name = re.sub(pattern, replacement, name)
    return name


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
                    values[torch_name(f"{prefix}.{name}" if prefix else name)] = value
    return values


def _in_order(values: Mapping[str, Any], arrays: Arrays) -> Arrays | None:
    """Give arrays of other names ours, layer by layer, if as many layers hold the same kinds and shapes."""
    ours, theirs = _by_layer(values), _by_layer(arrays)
    if len(ours) != len(theirs):
        return None
    renamed: Arrays = {}
    for (prefix, kinds), (other, other_kinds) in zip(ours.items(), theirs.items(), strict=True):
        if kinds != other_kinds:
            return None
        renamed |= {prefix + kind: arrays[other + kind] for kind in kinds}
    return renamed


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
            source = torch.load(source, map_location="cpu", weights_only=True)
        except Exception as error:  # zip, pickle and storage errors of many kinds
            raise CheckpointError(
                f"{where}: torch.load(..., weights_only=True) failed ({str(error).splitlines()[0]:.200}); save the "
                "state dict alone: torch.save(network.state_dict(), FILE)"
            ) from error
        if not isinstance(source, Mapping):
            raise CheckpointError(
                f"{where}: expected a state dict, got {type(source).__name__}; save network.state_dict()"
            )
    else:
        where = "state dict"
    return where, _without_counters({name: _array(name, value) for name, value in source.items()}), True


def _array(name: str, value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":  # which NumPy does not know
            value = value.float()
        value = value.numpy()
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
