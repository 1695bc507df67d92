"""Layers made of layers: one after another, around a shortcut, side by side.

They compose, so a model needs no backward of its own.
"""

import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from xpcnn.backend import Array, xp
from xpcnn.errors import DtypeError, ShapeError
from xpcnn.layers.activation import ReLU
from xpcnn.layers.base import Layer, Shape
from xpcnn.layers.pooling import Pooling
from xpcnn.layers.reshape import Identity


class Container(Layer):
    """What containers share: how they show themselves, in full (repr) and in an error message (str)."""

    names: tuple[str, ...] = ()
    """Of the layers inside, where the caller gives them."""

    def __repr__(self) -> str:
        inside = "".join(
            f"{name + '=' if name in self.names and not name.isdecimal() else ''}{child!r},\n"
            for name, child in self.children()
        )
        return f"{type(self).__name__}(" + (f"\n{textwrap.indent(inside, '    ')}" if inside else "") + ")"

    def _only_layers(self, *layers: Layer) -> tuple[Layer, ...]:
        for layer in layers:
            if not isinstance(layer, Layer):
                raise DtypeError(
                    f"{type(self).__name__}: expected layers, got {layer!r:.60}; pass them one by one, as in "
                    f"{type(self).__name__}(Conv(1, 8, 3), ReLU()), a list with a star: {type(self).__name__}(*layers)"
                )
        return layers

    def __str__(self) -> str:
        return f"{type(self).__name__} of {sum(1 for _ in self.named_layers()) - 1} layers"


class Sequential(Container):
    """Layers one after another: y = f_n(... f_2(f_1(x))).

    The first layer is not asked for dx unless the caller wants it. A max pooling right behind a ReLU is computed
    before it, unless somebody watches (`xpcnn.tracing`): the maximum of max(x, 0) is the maximum of x, cut at 0,
    number for number, and the ReLU has a quarter of the pixels to do and to keep.

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
    """

    def __init__(self, *layers: Layer, **named: Layer) -> None:
        self.layers = self._only_layers(*layers, *named.values())
        self.names = _names(layers, named)
        self._order = list(self.layers)

    def forward(self, x: Array) -> Array:
        self._order = _maxima_before_relu(self.layers)
        for layer in self._order:
            x = layer.forward(x)
        return x

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        for index in reversed(range(len(self._order))):
            dy = self._order[index].backward(dy, need_dx or index > 0)
        return dy

    def output_shape(self, input_shape: Shape) -> Shape:
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
        return input_shape

    def walk(self, input_shape: Shape, name: str = "") -> Iterator[tuple[str, Layer, Shape]]:
        for index, layer in self.children():
            yield from layer.walk(input_shape, f"{name}.{index}" if name else index)
            input_shape = layer.output_shape(input_shape)

    def children(self) -> Iterator[tuple[str, Layer]]:
        return zip(self.names, self.layers, strict=True)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, index: int | slice) -> Layer:
        """Return a layer, or with a slice a Sequential that shares its layers with this one."""
        if not isinstance(index, slice):
            return self.layers[index]
        named = dict(list(self.children())[index])
        numbered = [named.pop(name) for name in list(named) if name.isdecimal()]
        return Sequential(*numbered, **named)


def _maxima_before_relu(layers: tuple[Layer, ...]) -> list[Layer]:
    """Return the order in which to compute: every [ReLU, max pooling] the other way round, unless it is watched."""
    order = list(layers)
    for index, (one, next_one) in enumerate(pairwise(layers)):
        commute = type(one) is ReLU and type(next_one) is Pooling and next_one.mode == "max"
        if commute and not ("forward" in vars(one) or "forward" in vars(next_one)):
            order[index : index + 2] = next_one, one
    return order


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
        y, bypass = self.body.forward(x), self.shortcut.forward(x)
        self._check(y.shape, bypass.shape)
        return y + bypass

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        dx, bypass = self.body.backward(dy, need_dx), self.shortcut.backward(dy, need_dx)
        return None if dx is None or bypass is None else dx + bypass

    def output_shape(self, input_shape: Shape) -> Shape:
        shape = self.body.output_shape(input_shape)
        self._check(shape, self.shortcut.output_shape(input_shape))
        return shape

    def walk(self, input_shape: Shape, name: str = "") -> Iterator[tuple[str, Layer, Shape]]:
        for child, layer in self.children():
            yield from layer.walk(input_shape, f"{name}.{child}" if name else child)

    def _check(self, body: Shape, shortcut: Shape) -> None:
        if body != shortcut:
            raise ShapeError(
                f"Residual: body gives {tuple(body)}, shortcut {tuple(shortcut)}; "
                "pass a shortcut, such as a 1x1 Conv, that changes the shape as the body does"
            )


class Parallel(Container):
    """Branches side by side on the same x, their channels laid one after another: (N,C,H,W) -> (N,sum O,H,W).

    Parameters
    ----------
    *branches, **named : Layer
        Known by their number or their name.

    Raises
    ------
    ShapeError
        In forward, if the branches differ in anything but channels; at construction, if there are none.

    References
    ----------
    The Inception module: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, figure 2.
    """

    def __init__(self, *branches: Layer, **named: Layer) -> None:
        if not branches and not named:
            raise ShapeError(
                "Parallel: expected at least one branch, got none; pass Parallel(Conv(...), ...)"
            )
        self.branches = self._only_layers(*branches, *named.values())
        self.names = _names(branches, named)

    def forward(self, x: Array) -> Array:
        outputs = [branch.forward(x) for branch in self.branches]
        self._check([y.shape[1:] for y in outputs])
        self.save_for_backward([y.shape[1] for y in outputs])
        return xp.concatenate(outputs, axis=1)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (channels,) = self.pop_saved()
        parts: list[Any] = []
        first = 0
        for branch, count in zip(self.branches, channels, strict=True):
            parts.append(branch.backward(dy[:, first : first + count], need_dx))
            first += count
        return sum(parts[1:], start=parts[0]) if need_dx else None

    def output_shape(self, input_shape: Shape) -> Shape:
        shapes = [branch.output_shape(input_shape) for branch in self.branches]
        self._check(shapes)
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def walk(self, input_shape: Shape, name: str = "") -> Iterator[tuple[str, Layer, Shape]]:
        for child, layer in self.children():
            yield from layer.walk(input_shape, f"{name}.{child}" if name else child)

    def children(self) -> Iterator[tuple[str, Layer]]:
        return zip(self.names, self.branches, strict=True)

    def _check(self, shapes: list[Shape]) -> None:
        if any(shape[1:] != shapes[0][1:] for shape in shapes):
            raise ShapeError(
                f"Parallel: branches give {', '.join(str(tuple(shape)) for shape in shapes)}; only channels may "
                "differ: pass padding='same' and equal strides"
            )


def _names(numbered: tuple[Layer, ...], named: dict[str, Layer]) -> tuple[str, ...]:
    return (*map(str, range(len(numbered))), *named)
