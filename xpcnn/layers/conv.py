"""The convolution layer."""

import math
from typing import Any, Literal

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.errors.checks import flag, whole
from xpcnn.geometry import Pair, Rounding, Window
from xpcnn.initializers import Initializer, he_normal
from xpcnn.layers.base import Layer, check_dtype
from xpcnn.layers.parameter import Parameter
from xpcnn.layers.shapes import Shape
from xpcnn.layers.weights import drawn
from xpcnn.random import Seed

TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
TO_OIHW, TO_HWIO = (3, 2, 0, 1), (2, 3, 1, 0)


class Conv(Layer):
    """Convolution of a batch of images with a bank of filters: (N,C,H,W) -> (N,O,OH,OW).

        y[n, o, p, q] = b[o] + sum over c, i, j of  w[o, c, i, j] x[n, c, SH p + DH i - top, SW q + DW j - left]
        OH = (H + top + bottom - DH (KH - 1) - 1) / SH + 1,  OW alike

    Parameters
    ----------
    in_channels, out_channels : int
        C and O.
    kernel_size, stride, dilation : int or (height, width)
    padding : int, (height, width), ((top, bottom), (left, right)), "same" or "valid"
        Zeros around the image; "same" keeps ``OH = ceil(H / SH)``.
    groups : int
        Output channels of group g see the input channels of group g only; divides C and O.
    bias : bool
        Add b, one number an output channel.
    flip_kernel : bool
        Turn the kernel by 180 degrees: convolution in the mathematician's sense. The default is
        cross-correlation, as everywhere in the field.
    data_format : "NCHW" or "NHWC"
        With "NHWC" images are (N,H,W,C) and `weight` is (KH,KW,C/G,O), as in TensorFlow; with "NCHW"
        `weight` is (O,C/G,KH,KW), as in PyTorch and in the book.
    rounding : "floor", "ceil" or "exact"
        What to do when the stride does not divide; "exact" raises.
    initializer : function of (shape, rng), default he_normal
        Draws the weight, shape (O,C/G,KH,KW); the bias begins at zero.
    rng : numpy Generator or seed

    Raises
    ------
    ShapeError
        At construction, for sizes that cannot be or an initializer that draws another shape; in forward, for images
        of other channels, of other than four axes, or smaller than the kernel.
    DtypeError
        For images of another dtype than the weight's, or a weight that is not floating.
    HyperparameterError
        For an initializer that draws what is not finite.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE
    86(11), 1998, section II.A. As a matrix product: `xpcnn.ops.im2col`.

    Examples
    --------
    >>> Conv(3, 64, 3, padding="same").output_shape((3, 32, 32))
    (64, 32, 32)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: Any = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        flip_kernel: bool = False,
        data_format: Literal["NCHW", "NHWC"] = "NCHW",
        rounding: Rounding = "floor",
        *,
        initializer: Initializer = he_normal,
        rng: Seed = None,
    ) -> None:
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.padding, self.dilation, self.rounding = stride, padding, dilation, rounding
        self.groups, self.flip_kernel, self.data_format = groups, flip_kernel, data_format
        for name, number in (
            ("in_channels", in_channels),
            ("out_channels", out_channels),
            ("groups", groups),
        ):
            whole(number, name, "Conv")
        with_bias, _ = flag(bias, "bias", "Conv"), flag(flip_kernel, "flip_kernel", "Conv")
        if in_channels % groups or out_channels % groups:
            raise ShapeError(
                f"Conv({in_channels}, {out_channels}, groups={groups}): groups must divide both in_channels and "
                f"out_channels; pass one of {_common_divisors(in_channels, out_channels)}"
            )
        if data_format not in ("NCHW", "NHWC"):
            raise ShapeError(f"Conv: data_format must be 'NCHW' or 'NHWC', got {data_format!r}; pass 'NCHW'")
        self.window = Window(kernel_size, stride, padding, dilation, rounding)

        weight = drawn(initializer, (out_channels, in_channels // groups, *self.window.size), rng, "Conv")
        self.weight = Parameter(weight.transpose(TO_HWIO).copy() if data_format == "NHWC" else weight)
        self.bias = Parameter(weight.dtype.type(0).repeat(out_channels)) if with_bias else None

    def forward(self, x: Array) -> Array:
        self._check(x)
        bias = None if self.bias is None else self.bias.data
        x = self._to_nchw(x)
        self.save_for_backward(x)
        return self._from_nchw(ops.conv(x, self._filters(), bias, self.window, self.groups))

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (x,) = self.pop_saved()
        as_stored = self.data_format == "NCHW" and not self.flip_kernel
        out = self.weight.unwritten() if as_stored else None
        dx, dweight, dbias = ops.conv_backward(
            self._to_nchw(dy), x, self._filters(), self.window, self.groups, need_dx, out
        )
        if self.flip_kernel:
            dweight = dweight[:, :, ::-1, ::-1]
        self.weight.add_gradient(dweight.transpose(TO_HWIO) if self.data_format == "NHWC" else dweight)
        if self.bias is not None:
            self.bias.add_gradient(dbias)
        return None if dx is None else self._from_nchw(dx)

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 3:
            raise ShapeError(
                f"{self}: expected one image, {', '.join(self.data_format[1:])}, got {tuple(input_shape)}; "
                "put Conv before Flatten, and give shapes without the batch axis"
            )
        size = self._output_size(input_shape)
        return (*size, self.out_channels) if self.data_format == "NHWC" else (self.out_channels, *size)

    def multiply_adds(self, input_shape: Shape) -> int:
        of_one_output = self.in_channels // self.groups * math.prod(self.window.size)
        return math.prod(self.output_shape(input_shape)) * of_one_output

    def _filters(self) -> Array:
        """The weight as ops want it: (O,C/G,KH,KW), turned if it is to be."""
        weight = self.weight.data
        if self.data_format == "NHWC":
            weight = weight.transpose(TO_OIHW)
        return weight[:, :, ::-1, ::-1] if self.flip_kernel else weight

    def _to_nchw(self, images: Array) -> Array:
        return images.transpose(TO_NCHW) if self.data_format == "NHWC" else images

    def _from_nchw(self, images: Array) -> Array:
        return images.transpose(TO_NHWC) if self.data_format == "NHWC" else images

    def _check(self, x: Array) -> None:
        if x.ndim != 4:
            mend = (
                "x[None] for a batch of one" if x.ndim == 3 else f"x.reshape to four axes, {self.data_format}"
            )
            raise ShapeError(
                f"{self}: expected a batch of images, ({', '.join(self.data_format)}), got shape {x.shape}; pass {mend}"
            )
        self._output_size(x.shape)
        check_dtype(x, self.weight, self)

    def _output_size(self, shape: Shape) -> Pair:
        """Return (OH, OW) for images, whose axes are the last three, or raise if they do not fit."""
        H, W, C = shape[-3:] if self.data_format == "NHWC" else (*shape[-2:], shape[-3])
        if self.in_channels != C:
            raise ShapeError(
                f"{self}: expected {self.in_channels} channels, got {C} in {tuple(shape)}; pass in_channels={C}"
            )
        return self.window.output_size(H, W, self)


def _common_divisors(a: int, b: int) -> list[int]:
    return [d for d in range(1, min(a, b) + 1) if a % d == b % d == 0]
