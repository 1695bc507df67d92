"""Output shapes of layers without an `output_shape`: from one pass of zeros, on the host."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from xpcnn.backend import use_backend
from xpcnn.errors import ShapeError, XpcnnError
from xpcnn.layers.parameter import Buffer, Parameter
from xpcnn.layers.passes import no_grad, observed
from xpcnn.layers.tree import dotted

Shape: TypeAlias = tuple[int, ...]
"""Of one sample, without the batch axis; for several inputs a tuple of such tuples."""


def same_shape(self: Any, input_shape: Shape) -> Shape:
    """Return the input's shape: y has the shape of x."""
    return tuple(input_shape)


def of_zeros(layer: Any, input_shape: Shape) -> Shape:
    """Return the shape of y for one sample; it is remembered for as long as the layer holds the same arrays.

    Raises
    ------
    ShapeError
        If forward fails on zeros of this shape.
    """
    known = vars(layer).setdefault("_shapes", {})
    key = (tuple(input_shape), _structure(layer))
    if key not in known:
        known[key] = _pass_of_zeros(layer, input_shape)[0]
    shape: Shape = known[key]
    return shape


def walk_of_zeros(layer: Any, input_shape: Shape, name: str) -> Iterator[tuple[str, Any, Shape]]:
    """Yield (dotted name, layer, input shape) for every layer inside that holds no others, as zeros pass through."""
    steps = dict(layer.named_steps())
    for inner, shape in _pass_of_zeros(layer, input_shape)[1]:
        if inner and next(steps[inner].step_children(), None) is None:
            yield from steps[inner].walk(shape, dotted(name, inner))


def _pass_of_zeros(layer: Any, input_shape: Shape) -> tuple[Shape, list[tuple[str, Shape]]]:
    """Return the shape of y, and (name, input shape) of every layer inside, in the order of forward."""
    seen: list[tuple[str, Shape]] = []

    with use_backend("numpy", "reference"), no_grad():
        twin = layer.copy().eval().to_device()
        dtype = next((a.data.dtype for a in twin._arrays() if a.data.dtype.kind == "f"), np.dtype(np.float32))
        names = {id(inner): name for name, inner in reversed([*twin.named_steps()])}

        def observe(moment: str, inner: Any, direction: str, value: Any) -> None:
            if moment == "enter" and id(inner) in names:
                seen.append((names[id(inner)], _shape(value)))

        try:
            with observed(observe):
                y = twin.forward(_zeros(input_shape, dtype))
        except XpcnnError:
            raise
        except Exception as error:
            raise ShapeError(
                f"{layer}: its forward fails on zeros of {(1, *input_shape)} ({type(error).__name__}: {error}); pass "
                "the shape of one sample, without the batch axis, or define output_shape()"
            ) from error
    return _shape(y), seen


def _zeros(shape: Any, dtype: Any) -> Any:
    if shape and isinstance(shape[0], tuple):
        return tuple(np.zeros((1, *part), dtype) for part in shape)
    return np.zeros((1, *shape), dtype)


def _shape(value: Any) -> Any:
    return tuple(map(_shape, value)) if isinstance(value, (list, tuple)) else tuple(value.shape[1:])


def _structure(layer: Any) -> tuple[Any, ...]:
    """Return a key of the layers inside and their arrays' shapes: it changes when a layer inside is replaced."""
    return tuple(
        (
            id(inner),
            *(value.data.shape for value in vars(inner).values() if isinstance(value, (Parameter, Buffer))),
        )
        for _, inner in layer.named_layers()
    )
