"""PyTorch's names of our layers' arrays, and which network of `xpcnn.models` a set of names belongs to."""

import functools
import re
from collections.abc import Mapping, Set

import numpy as np

from xpcnn import models
from xpcnn.errors import XpcnnError

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


def torch_name(name: str) -> str:
    """Return what PyTorch calls a parameter or buffer of ours.

    >>> torch_name("layer2.0.residual.shortcut.1.running_variance")
    'layer2.0.downsample.1.running_var'
    """
    for pattern, replacement in RULES:
        name = re.sub(pattern, replacement, name)
    return name


def sisters(arrays: Mapping[str, np.ndarray], names: Set[str]) -> str:
    """Return the end of a sentence that names the networks whose names `arrays` has, or nothing.

    `names` are those of the model that did not fit: if they are the same, only the widths differ, and a network's own
    name would be no help.
    """
    found = {name for name in arrays if not AUXILIARY.match(name)}
    fitting = {network: last for network, (known, last) in _known().items() if known == found}
    if not fitting or (names == found and len(fitting) == 1):
        return ""
    calls = [f"models.{network}({_length(arrays.get(last))})" for network, last in fitting.items()]
    return f"; these are the names of {' and '.join(calls)}"


def _length(array: np.ndarray | None) -> str:
    return "" if array is None or array.ndim != 1 else f"num_classes={len(array)}"


@functools.cache
def _known() -> dict[str, tuple[frozenset[str], str]]:
    """Return the names in every network, which no width changes, and the one that has a number a class."""
    known: dict[str, tuple[frozenset[str], str]] = {}
    for network, build in models.BY_NAME.items():
        try:
            model = build(10, 0, width=1 / 64)
        except (TypeError, XpcnnError):  # it has one width
            model = build(10, 0)
        buffers = [name for name, buffer in model.named_buffers() if buffer.persistent]
        names = [torch_name(name) for name in (*buffers, *(name for name, _ in model.named_parameters()))]
        last = model.parameters()[-1].data.shape
        known[network] = frozenset(names), names[-1] if last == (10,) else ""
    return known
