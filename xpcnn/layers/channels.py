"""Layers that treat whole channels: a factor and a bias for each, or more of them, all zeros."""

import math

import numpy as np

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.errors.checks import whole
from xpcnn.layers.base import Layer, check_dtype
from xpcnn.layers.checks import check_channels
from xpcnn.layers.parameter import Parameter
from xpcnn.layers.shapes import Shape


class ChannelScale(Layer):
    """Multiply every channel by a number and add another, both learnt: (N,C,...) -> (N,C,...).

        y[n, c, ...] = weight[c] x[n, c, ...] + bias[c]

    After an average pooling it is LeNet-5's trainable subsampling. (The paper's window adds its four pixels
    up, so its coefficient is a quarter of ours.)

    Parameters
    ----------
    channels : int

    Raises
    ------
    ShapeError
        For an input of other channels.
    DtypeError
        For another dtype than the weight's.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE
    86(11), 1998, section II.B, layer S2.
    """

    def __init__(self, channels: int) -> None:
        self.channels = whole(channels, "channels", "ChannelScale")
        self.weight, self.bias = (Parameter(np.full(channels, value, np.float32)) for value in (1, 0))

    def forward(self, x: Array) -> Array:
        self.output_shape(x.shape[1:])
        check_dtype(x, self.weight, self)
        self.save_for_backward(x)
        return ops.channel_scale(x, self.weight.data, self.bias.data)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (x,) = self.pop_saved()
        dx, dweight, dbias = ops.channel_scale_backward(dy, x, self.weight.data, need_dx)
        self.weight.add_gradient(dweight)
        self.bias.add_gradient(dbias)
        return dx

    def output_shape(self, input_shape: Shape) -> Shape:
        if not input_shape or input_shape[0] != self.channels:
            C = input_shape[0] if input_shape else 0
            raise ShapeError(
                f"{self}: expected {self.channels} channels, got {C} in {tuple(input_shape)}; pass channels={C}"
            )
        return input_shape

    def multiply_adds(self, input_shape: Shape) -> int:
        return math.prod(input_shape)


class PadChannels(Layer):
    """Append channels of zeros to those of x: (N,C,...) -> (N,C+extra,...).

    After a 1x1 pooling of stride 2 it is the shortcut of a CIFAR residual network where the width doubles:
    option A, which has nothing to learn.

    Parameters
    ----------
    extra : int
        The number of these channels.

    Raises
    ------
    ShapeError
        For a negative number, or an input without a channel axis.

    References
    ----------
    He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, sections 3.3 and 4.2.
    """

    def __init__(self, extra: int) -> None:
        self.extra = whole(extra, "extra", "PadChannels", 0)

    def forward(self, x: Array) -> Array:
        check_channels(x.shape, None, self, batch=1)
        self.save_for_backward(x.shape[1])
        return ops.pad_channels(x, self.extra)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (C,) = self.pop_saved()
        return dy[:, :C]

    def output_shape(self, input_shape: Shape) -> Shape:
        check_channels(input_shape, None, self)
        return input_shape[0] + self.extra, *input_shape[1:]
