"""Hooks around every layer of a model: what goes in and comes out, forward and backward, by the layer's name."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol, TypeAlias

Direction: TypeAlias = Literal["forward", "backward"]
Hook: TypeAlias = Callable[[str, Any, Direction, Any], None]
"""Is called with the layer's dotted name, the layer, the direction, and what goes in or comes out."""


class Traceable(Protocol):
    """A layer: it tells the name of every layer inside it, itself included."""

    def named_layers(self) -> Iterable[tuple[str, Any]]:
        """Yield (dotted name, layer)."""
        ...


@contextmanager
def traced(model: Traceable, enter: Hook | None = None, leave: Hook | None = None) -> Iterator[None]:
    """Inside the ``with`` block call `enter` before and `leave` after every layer's forward and backward.

    >>> from xpcnn.backend import xp
    >>> from xpcnn.layers import ReLU, Sequential
    >>> model = Sequential(ReLU())
    >>> with traced(model, leave=lambda name, layer, direction, y: print(repr(name), direction, y)):
    ...     y = model(xp.ones(2))
    '0' forward [1. 1.]
    '' forward [1. 1.]
    """
    once = {id(layer): (name, layer) for name, layer in reversed([*model.named_layers()])}
    layers = list(once.values())
    directions: tuple[Direction, ...] = ("forward", "backward")
    hidden = [{name: vars(layer)[name] for name in directions if name in vars(layer)} for _, layer in layers]
    try:
        for name, layer in layers:
            for direction in directions:  # an attribute of the object hides the method of its class
                setattr(
                    layer, direction, _hooked(getattr(layer, direction), name, layer, direction, enter, leave)
                )
        yield
    finally:
        for (_, layer), own in zip(layers, hidden, strict=True):  # an outer block's hooks stay
            for direction in directions:
                vars(layer).pop(direction, None)
            vars(layer).update(own)


def _hooked(
    method: Callable[..., Any],
    name: str,
    layer: Any,
    direction: Direction,
    enter: Hook | None,
    leave: Hook | None,
) -> Callable[..., Any]:
    def call(value: Any, *args: Any, **kwargs: Any) -> Any:
        if enter:
            enter(name, layer, direction, value)
        result = method(value, *args, **kwargs)
        if leave:
            leave(name, layer, direction, result)
        return result

    return call
