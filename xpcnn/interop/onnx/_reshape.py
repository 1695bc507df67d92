"""Operators that only change the shape: harmless as long as every sample keeps its numbers, in their order."""

import math
from typing import Any, TypeAlias

from xpcnn.interop.onnx._fold import BATCH
from xpcnn.interop.onnx._node import Node
from xpcnn.layers import Flatten, GlobalAveragePooling, GlobalMaxPooling, Layer, Reshape

Sizes: TypeAlias = tuple[int | None, ...]
"""The shape of one sample; None where the file leaves a size open."""


def reshaped(node: Node, shape: Sizes, target: Sizes) -> list[Layer]:
    """Return the layers that give a sample another shape."""
    if shape == target:
        return []
    if len(target) == 1:
        return [Flatten()]
    if None in target:
        raise node.refusal("not where the file leaves the image's size open")
    return [Reshape(target)]  # type: ignore[arg-type]


def flatten(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    (axis,) = node.take(axis=1)
    if axis not in (1, -len(shape)):
        raise node.refusal("from axis 1 only")
    return reshaped(node, shape, (_product(shape),))


def reshape(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    """Accept what leaves the batch axis alone, and refuse what moves numbers from one sample to another."""
    (allowzero,) = node.take(allowzero=0)
    given = node.constant(1)
    if given is None or given.ndim != 1 or not len(given):
        raise node.refusal("only to (N, ...)")
    before: list[Any] = [batch, *shape]
    sizes = given.tolist()
    if any(size == 0 and (allowzero or i >= len(before)) for i, size in enumerate(sizes)):
        raise node.refusal("a size of zero is not")
    first, *rest = (before[i] if size == 0 else size for i, size in enumerate(sizes))
    elements = _product(shape)
    if any(size is BATCH or size is None for size in rest) or [first, *rest].count(-1) > 1:
        raise node.refusal(f"to {tuple(sizes)} it is not a shape in numbers")
    known = math.prod(size for size in rest if size != -1)
    keeps_batch = (
        first is BATCH or (first == batch and first is not None) or (first == -1 and known == elements)
    )
    if -1 in rest and len(rest) == 1 and keeps_batch:
        return reshaped(node, shape, (elements,))
    if not keeps_batch or elements is None or elements % known or (elements != known and -1 not in rest):
        raise node.refusal(
            f"from {tuple(before)} to {tuple(sizes)} it would move numbers from one sample to another; only to (N, -1) "
            "or the same number of elements a sample"
        )
    return reshaped(node, shape, tuple(elements // known if size == -1 else size for size in rest))


def squeeze(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    axes = node.axes(len(shape) + 1)
    if axes is None or 0 in axes or any(shape[axis - 1] != 1 for axis in axes):
        raise node.refusal("only of axes that are given and have one element, and not of the batch")
    return reshaped(node, shape, tuple(size for i, size in enumerate(shape, 1) if i not in axes))


def unsqueeze(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    given: Any = node.attributes.get("axes", node.constant(1))
    axes = node.axes(len(shape) + 1 + len(given)) if given is not None else None
    if axes is None or 0 in axes or len(set(axes)) != len(axes):
        raise node.refusal("only of axes behind the batch")
    target = list(shape)
    for axis in sorted(axes):
        target.insert(axis - 1, 1)
    return reshaped(node, shape, tuple(target))


def transpose(node: Node, shape: Sizes, batch: Any) -> list[Layer]:
    (perm,) = node.take(perm=None)
    order = list(perm or reversed(range(len(shape) + 1)))
    moved = [axis for axis in order if axis == 0 or shape[axis - 1] != 1]
    if sorted(order) != list(range(len(shape) + 1)) or order[0] != 0 or moved != sorted(moved):
        raise node.refusal(
            "only where it leaves the numbers in their order; here images are (N, C, H, W) throughout"
        )
    return reshaped(node, shape, tuple(shape[axis - 1] for axis in order[1:]))


def tidy(layers: list[Layer]) -> list[Layer]:
    """Leave out a change of shape that the next one undoes: a global pooling gives (N, C) already."""
    kept: list[Layer] = []
    for layer in layers:
        if isinstance(layer, (Flatten, Reshape)):
            while kept and isinstance(kept[-1], (Flatten, Reshape)):
                kept.pop()
            if (
                isinstance(layer, Flatten)
                and kept
                and isinstance(kept[-1], (GlobalAveragePooling, GlobalMaxPooling))
            ):
                continue
        kept.append(layer)
    return kept


def _product(shape: Sizes) -> int | None:
    return None if None in shape else math.prod(shape)  # type: ignore[arg-type]
