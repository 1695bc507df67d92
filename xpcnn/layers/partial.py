"""Convolution with a table of connections."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from xpcnn import ops
from xpcnn.backend import Array, xp
from xpcnn.errors import ShapeError
from xpcnn.errors.checks import whole
from xpcnn.geometry import Pair, Window
from xpcnn.initializers import Initializer, he_normal
from xpcnn.layers.base import Layer, check_dtype
from xpcnn.layers.checks import check_images, image_shape
from xpcnn.layers.parameter import Buffer, Parameter
from xpcnn.layers.shapes import Shape
from xpcnn.layers.weights import drawn
from xpcnn.random import Seed


class PartialConv(Layer):
    """Convolution in which each output channel sees the input channels that a table names: (N,C,H,W) -> (N,O,OH,OW).

        y[n, o] = b[o] + sum over c in connections[o] of  w[o, c] * x[n, c]        * slides, as in Conv

    Only the connections that exist have weights: `weight` is (connections in all, KH, KW), output by output.

    Parameters
    ----------
    in_channels : int
    connections : sequence of sequences of int
        For every output channel, the input channels that it sees.
    kernel_size, stride : int or (height, width)
    padding : as in Conv
    initializer : function of (shape, rng), default he_normal
        Draws each output channel's weights, shape (1,connections,KH,KW), so fan_in is its own.
    rng : numpy Generator or seed

    Raises
    ------
    ShapeError
        At construction, for an output without connections or an input that is not there; in forward, for images
        of other channels.
    DtypeError
        For images of another dtype than the weight's.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE
    86(11), 1998, section II.B and table I.

    Examples
    --------
    >>> PartialConv(3, [(0, 1), (1, 2)], 5).weight
    Parameter(4, 5, 5)
    """

    def __init__(
        self,
        in_channels: int,
        connections: Sequence[Sequence[int]],
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | str = 0,
        *,
        initializer: Initializer = he_normal,
        rng: Seed = None,
    ) -> None:
        self.in_channels, self.kernel_size, self.stride, self.padding = (
            in_channels,
            kernel_size,
            stride,
            padding,
        )
        whole(in_channels, "in_channels", "PartialConv")
        self.connections = _table(connections)
        self.window = Window(kernel_size, stride, padding)
        if not self.connections:
            raise ShapeError("PartialConv: expected at least one output channel, got an empty table")
        for output, inputs in enumerate(self.connections):
            if len(set(inputs)) < max(len(inputs), 1) or not set(inputs) <= set(range(in_channels)):
                raise ShapeError(
                    f"PartialConv: output {output} must see at least one of the inputs 0 to {in_channels - 1}, each "
                    f"once, got {inputs}; mend the table or pass another in_channels"
                )
        links = [(output, c) for output, inputs in enumerate(self.connections) for c in inputs]
        # where each connection stands in filters(), on the device: a list would be uploaded again at every step
        self.places = Buffer(np.array(links).T, persistent=False)
        shapes = [(1, len(inputs), *self.window.size) for inputs in self.connections]
        weights = [drawn(initializer, shape, rng, "PartialConv")[0] for shape in shapes]
        self.weight = Parameter(np.concatenate(weights))
        self.bias = Parameter(np.zeros(len(self.connections), weights[0].dtype))

    def forward(self, x: Array) -> Array:
        check_images(x, self)
        self.output_shape(x.shape[1:])
        check_dtype(x, self.weight, self)
        self.save_for_backward(x)
        return ops.conv(x, self.filters(), self.bias.data, self.window)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (x,) = self.pop_saved()
        dx, dfilters, dbias = ops.conv_backward(dy, x, self.filters(), self.window, need_dx=need_dx)
        self.weight.add_gradient(dfilters[tuple(self.places.data)])
        self.bias.add_gradient(dbias)
        return dx

    def filters(self) -> Array:
        """Return the weights as Conv has them, zeros where there is no connection: (O,C,KH,KW)."""
        shape = (len(self.connections), self.in_channels, *self.window.size)
        filters = xp.zeros(shape, self.weight.data.dtype)
        filters[tuple(self.places.data)] = self.weight.data
        return filters

    def output_shape(self, input_shape: Shape) -> Shape:
        C, H, W = image_shape(input_shape, self)
        if self.in_channels != C:
            raise ShapeError(
                f"PartialConv: expected {self.in_channels} channels, got {C} in {tuple(input_shape)}; "
                f"pass in_channels={C} and a table to match"
            )
        return len(self.connections), *self.window.output_size(H, W)

    def multiply_adds(self, input_shape: Shape) -> int:
        _, OH, OW = self.output_shape(input_shape)
        return int(self.weight.data.size) * OH * OW

    def __format__(self, spec: str) -> str:
        settings = (("stride", self.stride, 1), ("padding", self.padding, 0))
        shown = "".join(f", {name}={value!r}" for name, value, usual in settings if value != usual)
        line = f"PartialConv({self.in_channels}, <{len(self.connections)} rows>, {self.kernel_size!r}{shown})"
        return format(line, spec)


def _table(connections: Any) -> tuple[tuple[int, ...], ...]:
    try:
        return tuple(tuple(operator.index(c) for c in inputs) for inputs in connections)
    except TypeError:
        raise ShapeError(
            f"PartialConv: expected a table of connections, a sequence of sequences of int, got {connections!r:.60}; "
            "pass [(0, 1), (1, 2)], say"
        ) from None
