"""Layers made of layers: what containers share, and layers one after another. Side by side: `branches`.

They compose, so a model needs no backward of its own. Backward goes through the layers inside in reverse order, so
that one of them may be used in several places.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from xpcnn.errors import DtypeError, ShapeError
from xpcnn.layers.base import Inputs, Layer
from xpcnn.layers.fused import fused
from xpcnn.layers.representation import tree
from xpcnn.layers.shapes import Shape
from xpcnn.layers.tree import dotted


class Container(Layer):
    """Layers with numbers or names; each name is an attribute: ``model.fc = Affine(128, 5)``."""

    def __init__(self, *layers: Layer, **named: Layer) -> None:
        self._inside = {**{str(index): layer for index, layer in enumerate(layers)}, **named}
        kind = type(self).__name__
        for layer in self.layers:
            if not isinstance(layer, Layer):
                raise DtypeError(
                    f"{kind}: expected layers, got {layer!r:.60}; pass them one by one, as in "
                    f"{kind}(Conv(1, 8, 3), ReLU()), a list with a star: {kind}(*layers)"
                )

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, in order."""
        return tuple(self._inside.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(self._inside)

    def children(self) -> Iterator[tuple[str, Layer]]:
        yield from list(self._inside.items())
        for name, child in super().children():
            if not name.startswith("_inside."):
                yield name, child

    def _replace_child(self, name: str, layer: Layer) -> None:
        if name in self._inside:
            self._inside[name] = layer
            vars(self).pop("_steps", None)
        else:
            super()._replace_child(name, layer)

    def __getattr__(self, name: str) -> Layer:
        inside: dict[str, Layer] = vars(self).get("_inside", {})
        if name in inside:
            return inside[name]
        raise AttributeError(
            f"{type(self).__name__} has no attribute {name!r}; its layers are {', '.join(inside)}"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        inside = vars(self).get("_inside", {})
        if name in inside and isinstance(value, Layer):
            self._replace_child(name, value)
            return
        if isinstance(value, Layer) and type(self).__module__.startswith("xpcnn."):
            raise ShapeError(
                f"{type(self).__name__}: there is no layer {name!r} to replace, and a new one would not be computed; "
                f"its layers are {', '.join(inside)}: pass {type(self).__name__}(*model, {name}=...) for one more"
            )
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(name for name in self._inside if name.isidentifier())]

    def __len__(self) -> int:
        return len(self._inside)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, index: Any) -> Any:
        """Return a layer by number or by dotted name."""
        return self.layers[index] if isinstance(index, int) else super().__getitem__(index)

    def __setitem__(self, index: Any, layer: Layer) -> None:
        """Put another layer in the place of the one of this number or dotted name."""
        super().__setitem__(self.names[index] if isinstance(index, int) else index, layer)

    def __repr__(self) -> str:
        return tree(type(self).__name__, [], [(name, repr(child)) for name, child in self.children()])


class Step(NamedTuple):
    """What a Sequential computes at once: a layer, or several that are fused; `first` is the number of the first."""

    name: str
    layer: Layer
    first: int


class Sequential(Container):
    """Layers one after another: y = f_n(... f_2(f_1(x))).

    With ``need_dx=False`` backward ends at the first layer that is trained, and does not compute its dx. A ReLU and
    the max pooling after it are computed as one step, `ops.relu_max_pool`; `plan` shows which.

    Parameters
    ----------
    *layers : Layer
        Their names are their numbers.
    **named : Layer
        The names of their parameters begin with theirs.

    Examples
    --------
    >>> from xpcnn.layers import Affine, ReLU
    >>> model = Sequential(Affine(4, 3), ReLU(), last=Affine(3, 2))
    >>> [name for name, _ in model.named_parameters()]
    ['0.weight', '0.bias', 'last.weight', 'last.bias']
    >>> model.last = Affine(3, 5)
    >>> model.output_shape((4,))
    (5,)
    """

    def forward(self, x: Inputs) -> Any:
        for step in self.steps():
            x = step.layer.forward(x)
        return x

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        steps = self.steps()
        trained = 0 if need_dx else self._first_trained()
        for step in reversed(steps):
            dy = step.layer.backward(dy, need_dx or step.first > trained)
            if not need_dx and step.first <= trained:
                return None
        return dy

    def steps(self) -> list[Step]:
        """Return what is computed, in order: each layer, and fused ones in place of those that they compute."""
        steps: list[Step] | None = vars(self).get("_steps")
        if steps is None:
            steps, index = [], 0
            while index < len(self):
                names, layers = self.names[index : index + 2], self.layers[index : index + 2]
                both = fused(*layers) if len(layers) == 2 else None
                steps.append(Step("+".join(names) if both else names[0], both or layers[0], index))
                index += 2 if both else 1
            vars(self)["_steps"] = steps
        return steps

    def plan(self) -> str:
        """Return a line for each step: its name, and the layers that it computes."""
        return "\n".join(
            f"{name}: {layer}" for name, layer in self.named_steps() if not isinstance(layer, Container)
        )

    def step_children(self) -> Iterator[tuple[str, Layer]]:
        return ((step.name, step.layer) for step in self.steps())

    def output_shape(self, input_shape: Shape) -> Shape:
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
        return input_shape

    def walk(self, input_shape: Shape, name: str = "") -> Iterator[tuple[str, Layer, Shape]]:
        for index, layer in self._inside.items():
            yield from layer.walk(input_shape, dotted(name, index))
            input_shape = layer.output_shape(input_shape)

    def __getitem__(self, index: Any) -> Any:
        """Return a layer by number or dotted name; for a slice a Sequential that shares its layers with this one."""
        if not isinstance(index, slice):
            return super().__getitem__(index)
        named = dict(list(self._inside.items())[index])
        numbered = [named.pop(name) for name in list(named) if name.isdecimal()]
        return Sequential(*numbered, **named)

    def _first_trained(self) -> int:
        """Return the number of the first layer to train if those before it are frozen: no gradient goes further."""
        frozen = False
        for index, layer in enumerate(self.layers):
            parameters = layer.parameters()
            if any(parameter.trainable for parameter in parameters):
                return index if frozen else 0
            frozen = frozen or bool(parameters)
        return len(self) - 1 if frozen else 0
