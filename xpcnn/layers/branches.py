"""Branches side by side, and how their outputs are joined: added, multiplied, or their channels concatenated.

All read the same x; or x is a tuple of as many arrays as there are branches, and each reads its own. Backward gives
every branch its dy, the last branch first; dx is the sum of what they return, or one gradient for each input.
"""

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from xpcnn import ops
from xpcnn.backend import Array, xp
from xpcnn.errors import ShapeError
from xpcnn.layers.base import Inputs, Layer
from xpcnn.layers.containers import Container
from xpcnn.layers.reshape import Identity
from xpcnn.layers.shapes import Shape
from xpcnn.layers.tree import dotted


class SideBySide(Container):
    """Branches side by side; a subclass defines `join`, `split` and `joined_shape`."""

    def __init__(self, *branches: Layer, **named: Layer) -> None:
        if not branches and not named:
            kind = type(self).__name__
            raise ShapeError(f"{kind}: expected at least one branch, got none; pass {kind}(Conv(...), ...)")
        super().__init__(*branches, **named)

    @property
    def branches(self) -> tuple[Layer, ...]:
        """The branches, in order."""
        return self.layers

    def join(self, outputs: list[Array]) -> Array:
        """Return y from the outputs of the branches, saving what `split` needs."""
        raise NotImplementedError

    def split(self, dy: Array) -> list[Array]:
        """Return the dy of every branch."""
        raise NotImplementedError

    def joined_shape(self, shapes: list[Shape]) -> Shape:
        """Return the shape of y from those of the outputs, for one sample, or raise ShapeError."""
        raise NotImplementedError

    def forward(self, x: Inputs) -> Array:
        outputs = [branch.forward(own) for branch, own in self._pairs(x)]
        self.joined_shape([y.shape[1:] for y in outputs])
        if len(sizes := {len(y) for y in outputs}) > 1:
            raise ShapeError(
                f"{self}: branches give batches of {sorted(sizes)} samples; pass inputs of one size"
            )
        self.save_for_backward(isinstance(x, tuple))
        return self.join(outputs)

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        dys = self.split(dy)
        (several,) = self.pop_saved()
        pairs = reversed([*zip(self.layers, dys, strict=True)])
        dxs = [branch.backward(own, need_dx) for branch, own in pairs][::-1]
        if several:
            return tuple(dxs)
        return sum(dxs[1:], start=dxs[0]) if need_dx else None

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.joined_shape([branch.output_shape(own) for branch, own in self._pairs(input_shape)])

    def walk(self, input_shape: Shape, name: str = "") -> Iterator[tuple[str, Layer, Shape]]:
        for branch, (layer, own) in zip(self.names, self._pairs(input_shape), strict=True):
            yield from layer.walk(own, dotted(name, branch))

    def _pairs(self, x: Any) -> list[tuple[Layer, Any]]:
        """Return every branch and what it reads, of arrays or of shapes."""
        if not isinstance(x, tuple) or (x and isinstance(x[0], int)):
            return [(branch, x) for branch in self.layers]
        if len(x) != len(self):
            raise ShapeError(
                f"{self}: expected one input, or {len(self)}, one for each branch, got {len(x)}; pass one each"
            )
        return [*zip(self.layers, x, strict=True)]

    def _differ(self, shapes: list[Shape], fix: str) -> ShapeError:
        given = ", ".join(str(tuple(shape)) for shape in shapes)
        return ShapeError(f"{type(self).__name__}: branches give {given}; {fix}")


class Sum(SideBySide):
    """Branches side by side, their outputs added: y = f_1(x) + ... + f_n(x), or f_1(x_1) + ... + f_n(x_n).

    Parameters
    ----------
    *branches, **named : Layer
        Their names are their numbers, or are given. They read the same x; or x is a tuple and each reads its own.

    Raises
    ------
    ShapeError
        In forward, if the branches differ in shape; at construction, if there are none.
    """

    def join(self, outputs: list[Array]) -> Array:
        return sum(outputs[1:], start=outputs[0])

    def split(self, dy: Array) -> list[Array]:
        return [dy] * len(self)

    def joined_shape(self, shapes: list[Shape]) -> Shape:
        if any(shape != shapes[0] for shape in shapes):
            raise self._differ(shapes, "give them equal shapes, by padding='same' and equal strides")
        return shapes[0]


class Residual(Sum):
    """A body beside a shortcut: y = body(x) + shortcut(x); the gradients of both add up.

    Parameters
    ----------
    body : Layer
    shortcut : Layer, default Identity()
        For example a 1x1 convolution, where body changes the shape.

    Raises
    ------
    ShapeError
        In forward, if the two shapes differ.

    References
    ----------
    He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, equations 1 and 2.
    """

    def __init__(self, body: Layer, shortcut: Layer | None = None) -> None:
        super().__init__(body=body, shortcut=Identity() if shortcut is None else shortcut)

    def joined_shape(self, shapes: list[Shape]) -> Shape:
        body, shortcut = shapes
        if body != shortcut:
            raise ShapeError(
                f"Residual: body gives {tuple(body)}, shortcut {tuple(shortcut)}; "
                "pass a shortcut, such as a 1x1 Conv, that changes the shape as the body does"
            )
        return body


class Parallel(SideBySide):
    """Branches side by side, their channels one after another: (N,C,H,W) -> (N,sum O,H,W).

    Parameters
    ----------
    *branches, **named : Layer
        Their names are their numbers, or are given. They read the same x; or x is a tuple and each reads its own.

    Raises
    ------
    ShapeError
        In forward, if the branches differ in anything but channels; at construction, if there are none.

    References
    ----------
    The Inception module: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, figure 2.
    """

    def join(self, outputs: list[Array]) -> Array:
        self.save_for_backward([y.shape[1] for y in outputs])
        return xp.concatenate(outputs, axis=1)

    def split(self, dy: Array) -> list[Array]:
        (channels,) = self.pop_saved()
        return [dy[:, end - count : end] for count, end in zip(channels, accumulate(channels), strict=True)]

    def joined_shape(self, shapes: list[Shape]) -> Shape:
        if any(not shape or shape[1:] != shapes[0][1:] for shape in shapes):
            raise self._differ(shapes, "only channels may differ: pass padding='same' and equal strides")
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])


class Product(SideBySide):
    """A body times a gate: y = body(x) gate(x), elementwise or channel by channel.

    The gate gives the shape of the body, or one number for each channel, (N,C) or (N,C,1,1), which multiplies all
    pixels of the channel. Then dbody = dy gate(x), and dgate = dy body(x), summed over the pixels of a channel.

    Parameters
    ----------
    gate : Layer
    body : Layer, default Identity()

    Raises
    ------
    ShapeError
        In forward, if the gate gives another shape than those.

    References
    ----------
    Hu, Shen and Sun, "Squeeze-and-Excitation Networks", CVPR 2018, equation 4.

    Examples
    --------
    >>> from xpcnn.layers import Affine, GlobalAveragePooling, ReLU, Sequential, Sigmoid
    >>> squeeze = Sequential(GlobalAveragePooling(), Affine(8, 2), ReLU(), Affine(2, 8), Sigmoid())
    >>> Product(squeeze).output_shape((8, 14, 14))
    (8, 14, 14)
    """

    def __init__(self, gate: Layer, body: Layer | None = None) -> None:
        super().__init__(gate=gate, body=Identity() if body is None else body)

    def join(self, outputs: list[Array]) -> Array:
        gate, body = outputs
        self.save_for_backward(body, gate)
        return ops.product(body, gate)

    def split(self, dy: Array) -> list[Array]:
        dbody, dgate = ops.product_backward(dy, *self.pop_saved())
        return [dgate, dbody]

    def joined_shape(self, shapes: list[Shape]) -> Shape:
        gate, body = shapes
        if gate not in (body, body[:1], (*body[:1], *[1] * len(body[1:]))):
            raise ShapeError(
                f"Product: body gives {tuple(body)}, gate {tuple(gate)}; the gate must give the same shape, or one "
                f"number for each channel, {tuple(body[:1])}: end it with Affine(..., {body[0] if body else 1})"
            )
        return body
