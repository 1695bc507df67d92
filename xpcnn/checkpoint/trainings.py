"""Whole trainings on disk: weights, buffers, the optimizer's state and the position, to the bit."""

from __future__ import annotations

import copy
import inspect
import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np

from xpcnn import __version__
from xpcnn._disk.files import replacing
from xpcnn.backend import Array, to_device, to_host
from xpcnn.checkpoint._sealed import CHECKPOINT, seal, unseal
from xpcnn.checkpoint.circumstances import changes, circumstances
from xpcnn.errors import CheckpointError, DivergenceError, ReproducibilityWarning
from xpcnn.layers import Layer
from xpcnn.layers.representation import arguments
from xpcnn.optimizers import Optimizer
from xpcnn.training.state import Position, generator

RENAMED = {"ChannelScale": "Scale"}
"""Layers whose name in a checkpoint of version 0.1 is another."""


def save_checkpoint(
    file: str | PathLike[str],
    model: Layer,
    optimizer: Optimizer,
    position: Position,
    config: Mapping[str, Any] | None = None,
) -> None:
    """Write all that `train` needs to continue from here, between two steps, and `config`, which JSON can hold.

    A schedule is a function and cannot be written: put its settings into `config`. The previous file stays until
    the new one is complete. Equal trainings make equal bytes.

    Raises
    ------
    DivergenceError
        If a loss of the epoch is not finite; the previous file stays.
    OSError
        Where the file cannot be written.
    """
    arrays = {name: to_host(array) for name, array in _places(model, optimizer).items()}
    arrays["losses"] = losses = to_host(position.losses)
    if not np.isfinite(losses).all():
        raise DivergenceError(
            f"{file}: the loss of epoch {position.epoch} is no longer finite; the previous checkpoint stays: lower "
            "the learning rate, or clip gradients with clip_norm=1.0"
        )
    where = {
        "epoch": position.epoch,
        "step": position.step,
        "images": position.images,
        "start": position.start,
    }
    metadata = {
        "xpcnn": __version__,
        "kind": "checkpoint",
        "circumstances": _json(circumstances()),
        "config": _json(config or {}),
        "layers": _json(_layers(model)),
        "extra": _json(_extra(model)),
        "optimizer": _json(_settings(optimizer)),
        "position": _json(where | {"generator": position.rng.bit_generator.state}),
    }
    with replacing(file) as handle:
        handle.write(seal(arrays, metadata))


def load_checkpoint(file: str | PathLike[str], model: Layer, optimizer: Optimizer) -> Position:
    """Restore model and optimizer as `save_checkpoint` wrote them, on any backend, and return the position.

    ``train(..., position=position)`` then continues, to the bit under the same `circumstances`: backend, kernels,
    versions and instruction set, with any number of threads. First build the same model, optimizer and schedule from
    `read_config`. Files of every version since 0.1 are read.

    Raises
    ------
    CheckpointError
        If the file is missing or damaged, or of another network or optimizer. Model and optimizer are then unchanged.

    Warns
    -----
    ReproducibilityWarning
        If the checkpoint was saved under other circumstances.
    """
    arrays, metadata = _read_checkpoint(file)
    with _parsing(file, metadata, "layers"):
        wrong = _other_layers(json.loads(metadata["layers"]), _layers(model)) if "layers" in metadata else []
    with _parsing(file, metadata, "optimizer"):
        settings, places = json.loads(metadata["optimizer"]), _places(model, optimizer)
        steps, lr = settings.pop("steps"), settings.pop("lr")
        if type(steps) is not int or isinstance(lr, bool) or not (steps >= 0 and 0 <= lr < math.inf):
            raise ValueError(f"{steps!r} steps, learning rate {lr!r}")
        own = json.loads(_json(_settings(optimizer)))
        wrong += [f"optimizer's {name} is {value}, yours {own.get(name)}"
                  for name, value in settings.items() if value != own.get(name)]  # fmt: skip
    losses = arrays.pop("losses", None)
    for name in sorted(places.keys() | arrays.keys()):
        found, ours = (_kind(side.get(name)) for side in (arrays, places))
        if found != ours:
            wrong.append(f"{name} is {found}, yours {ours}")
    if wrong:
        shown = "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise CheckpointError(f"{file}: {shown}; build model and optimizer from its read_config()")

    with _parsing(file, metadata, "position"):
        position = _position(json.loads(metadata["position"]), losses)
    with _parsing(file, metadata, "extra state"):
        extra = _extra_states(metadata, model)
    with _parsing(file, metadata, "circumstances"):
        saved = dict(json.loads(metadata.get("circumstances", "{}")))
    position.losses = to_device(losses)
    for name, array in arrays.items():
        places[name][...] = to_device(array)
    for layer, state in extra:
        layer.load_extra_state(state)
    optimizer.steps, optimizer.lr = steps, lr
    saved = {"xpcnn": metadata["xpcnn"], **{str(name): str(value) for name, value in saved.items()}}
    now = circumstances()
    if other := changes(saved, now if len(saved) > 1 else {"xpcnn": now["xpcnn"]}):
        warnings.warn(
            ReproducibilityWarning(
                f"{file}: {other}; so the training continues close to an uninterrupted one, but not to the bit"
            ),
            stacklevel=2,
        )
    return position


def _position(where: Mapping[str, Any], losses: np.ndarray | None) -> Position:
    """Return the position that was saved, or raise an error if it is impossible."""
    for state in (where["generator"], where["start"]):
        if state is None and state is not where["generator"]:
            continue  # before the epoch's shuffle
        if json.loads(_json(generator(state).bit_generator.state)) != state:
            raise ValueError("its random generator has an impossible state")
    position = Position(generator(where["generator"]))
    numbers = [where[name] for name in ("epoch", "step", "images")]
    position.epoch, position.step, position.images = numbers
    position.start = where["start"]
    if (
        any(type(number) is not int for number in numbers)
        or min(position.epoch - 1, position.step, position.images) < 0
        or losses is None
        or losses.ndim != 1
        or losses.dtype.kind != "f"
        or position.step > len(losses)
    ):
        raise ValueError(f"position {numbers} with losses {_kind(losses)}")
    return position


def _extra_states(metadata: Mapping[str, str], model: Layer) -> list[tuple[Layer, dict[str, Any]]]:
    """Return the layers that have an extra state with the saved one, tried on a copy of the layer."""
    if "extra" in metadata:
        saved = json.loads(metadata["extra"])
    else:  # version 0.1 saved dropout's keys only
        saved = {name: {"key": key} for name, key in json.loads(metadata["keys"]).items()}
    if saved.keys() != (own := _extra(model)).keys():
        raise ValueError(f"of {', '.join(saved) or 'no layer'}, yours of {', '.join(own) or 'none'}")
    layers = dict(model.named_layers())
    for name, state in saved.items():
        copy.copy(layers[name]).load_extra_state(state)
    return [(layers[name], state) for name, state in saved.items()]


def read_config(file: str | PathLike[str]) -> dict[str, Any]:
    """Return the configuration of a checkpoint, from which model and optimizer can be built.

    Raises
    ------
    CheckpointError
        If the file is missing or damaged.
    """
    _, metadata = _read_checkpoint(file)
    with _parsing(file, metadata, "config"):
        config = json.loads(metadata["config"])
        if not isinstance(config, dict):
            raise TypeError("it is no dictionary")
        return config


def _read_checkpoint(file: str | PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    arrays, metadata = unseal(file)
    if metadata.get("kind") != "checkpoint":
        raise CheckpointError(
            f"{file}: expected a checkpoint, got {metadata.get('kind', 'weights')}, which load_weights reads; only a "
            "checkpoint can be resumed"
        )
    wanted = {"xpcnn", "config", "optimizer", "position", *(() if "extra" in metadata else ("keys",))}
    if lacking := ", ".join(sorted(wanted - metadata.keys())):
        raise CheckpointError(f"{file}: lacks its {lacking}; {CHECKPOINT.remedy}")
    if not re.fullmatch(r"\d+\.\d+[\w.+-]*", metadata["xpcnn"]):
        raise CheckpointError(
            f"{file}: is of xpcnn {metadata['xpcnn']:.40}, which is no version; {CHECKPOINT.remedy}"
        )
    return arrays, metadata


@contextmanager
def _parsing(file: str | PathLike[str], metadata: Mapping[str, str], entry: str) -> Iterator[None]:
    """Turn errors of an entry that another program wrote into a CheckpointError; our own messages stay."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise CheckpointError(f"{file}: its {entry}: {error}") from None
        raise CheckpointError(
            f"{file}: its {entry} cannot be read ({type(error).__name__}: {error!s:.80}), so it is of another program; "
            f"{CHECKPOINT.remedy}"
        ) from error


def _layers(model: Layer) -> dict[str, list[Any]]:
    """Return every layer's kind and the arguments that JSON can hold, by name: equal shapes are not enough."""
    return {name: [type(layer).__name__, arguments(layer)] for name, layer in model.named_layers()}


def _other_layers(saved: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Return in which layers two networks differ."""
    if not isinstance(saved, dict) or not saved:
        raise TypeError("it names no layers")
    wrong: list[str] = []
    for name in [*saved, *(name for name in ours if name not in saved)]:
        (kind, theirs), (own_kind, own) = (
            (side[name][0], side[name][1]) if name in side else ("absent", {}) for side in (saved, ours)
        )
        own, kind = json.loads(_json(own)), RENAMED.get(kind, kind)
        shown = f"layer {name}" if name else "the model"
        if kind != own_kind:
            wrong.append(f"{shown} is {kind}, yours {own_kind}")
        wrong += [f"{shown} has {key}={theirs.get(key)!r}, yours {own.get(key)!r}"
                  for key in sorted(theirs.keys() | own.keys()) if theirs.get(key) != own.get(key)]  # fmt: skip
    return wrong


def _extra(model: Layer) -> dict[str, dict[str, Any]]:
    return {name: state for name, layer in model.named_layers() if (state := layer.extra_state())}


def _places(model: Layer, optimizer: Optimizer) -> dict[str, Array]:
    """Return by name every array that training changes: what is saved and restored."""
    places = {f"model.{name}": value.data for name, value in model.named_parameters()}
    places |= {f"model.{name}": value.data for name, value in model.named_buffers()}
    return places | {f"optimizer.{name}": array for name, array in optimizer.state.items()}


def _settings(optimizer: Optimizer) -> dict[str, Any]:
    """Name, steps and hyperparameters."""
    names = [name for name in inspect.signature(type(optimizer)).parameters if name != "parameters"]
    settings = {name: getattr(optimizer, name) for name in names}
    settings["groups"] = [
        [len(group.parameters), group.rate, group.weight_decay] for group in optimizer.groups
    ]
    return {"name": type(optimizer).__name__, "steps": optimizer.steps, **settings}


def _kind(array: Any) -> str:
    return "absent" if array is None else f"{array.dtype} {tuple(array.shape)}"


def _json(value: Any) -> str:
    return json.dumps(value, default=lambda array: array.tolist())  # states of MT19937 hold arrays
