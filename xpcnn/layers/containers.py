"""Layers made of layers: one after another, around a shortcut, side by side.

They compose, so a model needs no backward of its own. Backward goes through the layers inside in reverse order, so
that one of them may be used in several places.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from xpcnn.backend import Array, xp
from xpcnn.errors import DtypeError, ShapeError
from xpcnn.layers.base import Inputs, Layer
from xpcnn.layers.fused import fused
from xpcnn.layers.representation import tree
from xpcnn.layers.reshape import Identity
from xpcnn.layers.shapes import Shape
from xpcnn.layers.tree import dotted


class Container(Layer):
    """What containers share: only layers go in."""

    def _only_layers(self, *layers: Layer) -> tuple[Layer, ...]:
        for layer in layers:
            if not isinstance(layer, Layer):
                raise DtypeError(
                    f"{type(self).__name__}: expected layers, got {layer!r:.60}; pass them one by one, as in "
                    f"{type(self).__name__}(Conv(1, 8, 3), ReLU()), a list with a star: {type(self).__name__}(*layers)"
                )
        return layers

    def __format__(self, spec: str) -> str:
        return format(f"{type(self).__name__} of {sum(1 for _ in self.named_layers()) - 1} layers", spec)


class Branches(Container):
    """A container of layers known by number or by name; each name is an attribute: ``model.fc = Affine(128, 5)``."""

    def __init__(self, *layers: Layer, **named: Layer) -> None:
        self._only_layers(*layers, *named.values())
        self._inside = {**{str(index): layer for index, layer in enumerate(layers)}, **named}

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
    """What a Sequential computes at once: a layer, or several that are fused; and by what names they are known."""

    name: str
    layer: Layer
    first: int


class Sequential(Branches):
    """Layers one after another: y = f_n(... f_2(f_1(x))).

    The first layer is not asked for dx unless the caller wants it, nor any before the first that is trained. A ReLU
    and the max pooling behind it are computed as one step, `ops.relu_max_pool`; `plan` tells which.

    Parameters
    ----------
    *layers : Layer
        Known by their number.
    **named : Layer
        Known by their name, which then begins those of their parameters.

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
        """Return a layer by number or dotted name; with a slice a Sequential that shares its layers with this one."""
        if not isinstance(index, slice):
            return super().__getitem__(index)
        named = dict(list(self._inside.items())[index])
        numbered = [named.pop(name) for name in list(named) if name.isdecimal()]
        return Sequential(*numbered, **named)

    def _first_trained(self) -> int:
        """Return the number of the first layer to train, where those before are frozen: no gradient goes further."""
        frozen = False
        for index, layer in enumerate(self.layers):
            parameter = None
            for _, parameter in layer.named_parameters():
                if parameter.trainable:
                    return index if frozen else 0
            frozen = frozen or parameter is not None
        return len(self) - 1 if frozen else 0


class Residual(Container):
    """A body around a shortcut: y = body(x) + shortcut(x); the gradient flows back through both, and adds.

    Parameters
    ----------
    body : Layer
    shortcut : Layer, default Identity()
        A 1x1 convolution, say, where body changes the shape.

    Raises
    ------
    ShapeError
        In forward, if the two shapes differ.

    References
    ----------
    He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, equations 1 and 2.
    """

    def __init__(self, body: Layer, shortcut: Layer | None = None) -> None:
        self.body, self.shortcut = self._only_layers(body, Identity() if shortcut is None else shortcut)

    def forward(self, x: Array) -> Array:
        y = self.body.forward(x)
        bypass = self.shortcut.forward(x)
        self._check(y.shape, bypass.shape)
        return y + bypass

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        bypass = self.shortcut.backward(dy, need_dx)
        dx = self.body.backward(dy, need_dx)
        return None if dx is None or bypass is None else dx + bypass

    def output_shape(self, input_shape: Shape) -> Shape:
        shape = self.body.output_shape(input_shape)
        self._check(shape, self.shortcut.output_shape(input_shape))
        return shape

    def walk(self, input_shape: Shape, name: str = "") -> Iterator[tuple[str, Layer, Shape]]:
        for child, layer in self.children():
            yield from layer.walk(input_shape, dotted(name, child))

    def _check(self, body: Shape, shortcut: Shape) -> None:
        if body != shortcut:
            raise ShapeError(
                f"Residual: body gives {tuple(body)}, shortcut {tuple(shortcut)}; "
                "pass a shortcut, such as a 1x1 Conv, that changes the shape as the body does"
            )


class SideBySide(Branches):
    """Branches side by side, each on the same x, or, if x is a tuple of as many arrays, each on its own."""

    def __init__(self, *branches: Layer, **named: Layer) -> None:
        if not branches and not named:
            kind = type(self).__name__
            raise ShapeError(f"{kind}: expected at least one branch, got none; pass {kind}(Conv(...), ...)")
        super().__init__(*branches, **named)

    @property
    def branches(self) -> tuple[Layer, ...]:
        """The branches, in order."""
        return self.layers

    def _outputs(self, x: Inputs) -> list[Array]:
        return [branch.forward(part) for branch, part in zip(self.layers, self._inputs(x), strict=True)]

    def _input_gradient(self, parts: list[Array], need_dx: bool, several: bool) -> Any:
        """Send every branch its dy, the last one first, and return dx: their sum, or one for each input."""
        backward = [
            branch.backward(dy, need_dx) for branch, dy in zip(self.layers[::-1], parts[::-1], strict=True)
        ][::-1]
        if several:
            return tuple(backward)
        return sum(backward[1:], start=backward[0]) if need_dx else None

    def _output_shapes(self, input_shape: Shape) -> list[Shape]:
        return [
            branch.output_shape(shape)
            for branch, shape in zip(self.layers, self._inputs(input_shape), strict=True)
        ]

    def walk(self, input_shape: Shape, name: str = "") -> Iterator[tuple[str, Layer, Shape]]:
        for (branch, layer), shape in zip(self._inside.items(), self._inputs(input_shape), strict=True):
            yield from layer.walk(shape, dotted(name, branch))

    def _inputs(self, x: Any) -> Any:
        """Return what each branch reads, of arrays or of shapes."""
        if not isinstance(x, tuple) or (x and isinstance(x[0], int)):
            return [x] * len(self)
        if len(x) != len(self):
            raise ShapeError(
                f"{self}: expected one input, or {len(self)}, one for each branch, got {len(x)}; pass one each"
            )
        return x


class Parallel(SideBySide):
    """Branches side by side, their channels laid one after another: (N,C,H,W) -> (N,sum O,H,W).

    Parameters
    ----------
    *branches, **named : Layer
        Known by their number or their name. They read the same x; or x is a tuple and each reads its own.

    Raises
    ------
    ShapeError
        In forward, if the branches differ in anything but channels; at construction, if there are none.

    References
    ----------
    The Inception module: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, figure 2.
    """

    def forward(self, x: Inputs) -> Array:
        outputs = self._outputs(x)
        self._check([y.shape[1:] for y in outputs])
        self.save_for_backward([y.shape[1] for y in outputs], isinstance(x, tuple))
        return xp.concatenate(outputs, axis=1)

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        channels, several = self.pop_saved()
        parts, first = [], 0
        for count in channels:
            parts.append(dy[:, first : first + count])
            first += count
        return self._input_gradient(parts, need_dx, several)

    def output_shape(self, input_shape: Shape) -> Shape:
        shapes = self._output_shapes(input_shape)
        self._check(shapes)
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def _check(self, shapes: list[Shape]) -> None:
        if any(shape[1:] != shapes[0][1:] for shape in shapes):
            raise ShapeError(
                f"Parallel: branches give {', '.join(str(tuple(shape)) for shape in shapes)}; only channels may "
                "differ: pass padding='same' and equal strides"
            )


class Sum(SideBySide):
    """Branches side by side, their outputs added: y = f_1(x) + ... + f_n(x), or f_1(x_1) + ... + f_n(x_n).

    Parameters
    ----------
    *branches, **named : Layer
        Known by their number or their name. They read the same x; or x is a tuple and each reads its own.

    Raises
    ------
    ShapeError
        In forward, if the branches differ in shape; at construction, if there are none.
    """

    def forward(self, x: Inputs) -> Array:
        outputs = self._outputs(x)
        self._check([y.shape[1:] for y in outputs])
        self.save_for_backward(isinstance(x, tuple))
        return sum(outputs[1:], start=outputs[0])

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        (several,) = self.pop_saved()
        return self._input_gradient([dy] * len(self), need_dx, several)

    def output_shape(self, input_shape: Shape) -> Shape:
        shapes = self._output_shapes(input_shape)
        self._check(shapes)
        return shapes[0]

    def _check(self, shapes: list[Shape]) -> None:
        if any(shape != shapes[0] for shape in shapes):
            raise ShapeError(
                f"Sum: branches give {', '.join(str(tuple(shape)) for shape in shapes)}; give them equal shapes, by "
                "padding='same' and equal strides"
            )
