"""Layers that work on whole channels: a factor and a bias for each, or more channels, all zeros."""

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


class Scale(Layer):
    """Multiply every channel by a learnt number and add a learnt bias: (N,C,...) -> (N,C,...).

        y[n, c, ...] = weight[c] x[n, c, ...] + bias[c]

    The weights begin at 1, the biases at 0. After an average pooling it is LeNet-5's trainable subsampling; after
    the last layer of a residual branch it is a layer scale with a bias.

    Parameters
    ----------
    channels : int

    Raises
    ------
    ShapeError
        At construction for a number below 1; in forward for an input of another number of channels.
    DtypeError
        For another dtype than the weight's.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE
    86(11), 1998, section II.B, layer S2. Touvron et al., "Going deeper with Image Transformers", ICCV 2021, section 2.

    Examples
    --------
    >>> Scale(6).output_shape((6, 14, 14))
    (6, 14, 14)
    """

    def __init__(self, channels: int) -> None:
        self.channels = whole(channels, "channels", "Scale")
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


ChannelScale = Scale
"""The name of `Scale` in version 0.1."""


class PadChannels(Layer):
    """Append channels of zeros to those of x: (N,C,...) -> (N,C+extra,...).

    After a 1x1 pooling of stride 2 it is the shortcut of a CIFAR residual network where the width doubles:
    option A, which has nothing to learn.

    Parameters
    ----------
    extra : int
        The number of channels to append.

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
