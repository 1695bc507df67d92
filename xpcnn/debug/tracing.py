"""Hooks before and after every layer of a model, forward and backward, by the name of the layer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from xpcnn.layers import Layer
from xpcnn.layers.passes import Direction, observed

Hook: TypeAlias = Callable[[str, Any, Direction, Any], None]
"""A function of the layer's dotted name, the layer, the direction, and its input (enter) or output (leave)."""


@contextmanager
def traced(model: Layer, enter: Hook | None = None, leave: Hook | None = None) -> Iterator[None]:
    """Inside the ``with`` block call `enter` before and `leave` after every layer's forward and backward.

    The hooks are called for layers as they run: neighbours that a `Sequential` fuses are one layer, called "1+2". A
    layer in several places has its first name in all of them.

    >>> from xpcnn.backend import xp
    >>> from xpcnn.layers import ReLU, Sequential
    >>> model = Sequential(ReLU())
    >>> with traced(model, leave=lambda name, layer, direction, y: print(repr(name), direction, y)):
    ...     y = model(xp.ones(2))
    '0' forward [1. 1.]
    '' forward [1. 1.]
    """
    names = {id(layer): name for name, layer in reversed([*model.named_steps()])}
    hooks = {"enter": enter, "leave": leave}

    def observe(moment: str, layer: Any, direction: Direction, value: Any) -> None:
        hook = hooks[moment]
        if hook and id(layer) in names:
            hook(names[id(layer)], layer, direction, value)

    with observed(observe):
        yield
