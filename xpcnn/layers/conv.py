"""The convolution layer."""

import math
from typing import Any, Literal

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.errors.checks import flag
from xpcnn.geometry import Pair, Rounding, Window
from xpcnn.initializers import Initializer, he_normal
from xpcnn.layers.base import check_dtype
from xpcnn.layers.checks import check_groups, image_shape
from xpcnn.layers.shapes import Shape
from xpcnn.layers.weights import Weighted, drawn
from xpcnn.random import Seed

TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
TO_OIHW, TO_HWIO = (3, 2, 0, 1), (2, 3, 1, 0)


class Conv(Weighted):
    """Convolution of a batch of images with a bank of filters: (N,C,H,W) -> (N,O,OH,OW).

        y[n, o, p, q] = b[o] + sum over c, i, j of  w[o, c, i, j] x[n, c, SH p + DH i - top, SW q + DW j - left]
        OH = (H + top + bottom - DH (KH - 1) - 1) / SH + 1,  and OW likewise

    Parameters
    ----------
    in_channels, out_channels : int
        C and O.
    kernel_size, stride, dilation : int or (height, width)
    padding : int, (height, width), ((top, bottom), (left, right)), "same" or "valid"
        Zeros around the image; "same" keeps ``OH = ceil(H / SH)``.
    groups : int
        Output channels of group g read the input channels of group g only; divides C and O.
    bias : bool
        Add b, one number for each output channel.
    flip_kernel : bool
        Turn the kernel by 180 degrees: convolution as mathematics defines it. The default is cross-correlation, which
        the field calls convolution.
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
        At construction, for invalid sizes or an initializer that draws another shape; in forward, for images with
        other channels, with other than four axes, or smaller than the kernel.
    DtypeError
        For images of another dtype than the weight's, or a weight that is not floating.
    HyperparameterError
        For an initializer that draws numbers that are not finite.

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
        check_groups(in_channels, out_channels, groups, "Conv")
        with_bias, _ = flag(bias, "bias", "Conv"), flag(flip_kernel, "flip_kernel", "Conv")
        if data_format not in ("NCHW", "NHWC"):
            raise ShapeError(f"Conv: data_format must be 'NCHW' or 'NHWC', got {data_format!r}; pass 'NCHW'")
        self.window = Window(kernel_size, stride, padding, dilation, rounding)

        weight = drawn(initializer, (out_channels, in_channels // groups, *self.window.size), rng, "Conv")
        if data_format == "NHWC":
            weight = weight.transpose(TO_HWIO).copy()  # (O, C/G, KH, KW) -> (KH, KW, C/G, O)
        self._own(weight, out_channels, with_bias)

    def forward(self, x: Array) -> Array:
        self._output_size(x.shape, batch=1)
        check_dtype(x, self.weight, self)
        x = self._to_nchw(x)
        self.save_for_backward(x)
        return self._from_nchw(ops.conv(x, self._filters(), self._bias(), self.window, self.groups))

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (x,) = self.pop_saved()
        dx, dweight, dbias = ops.conv_backward(
            self._to_nchw(dy), x, self._filters(), self.window, self.groups, need_dx
        )
        if self.flip_kernel:
            dweight = dweight[:, :, ::-1, ::-1]
        if self.data_format == "NHWC":
            dweight = dweight.transpose(TO_HWIO)  # (O, C/G, KH, KW) -> (KH, KW, C/G, O)
        self._add_gradients(dweight, dbias)
        return None if dx is None else self._from_nchw(dx)

    def output_shape(self, input_shape: Shape) -> Shape:
        size = self._output_size(input_shape, batch=0)
        return (*size, self.out_channels) if self.data_format == "NHWC" else (self.out_channels, *size)

    def multiply_adds(self, input_shape: Shape) -> int:
        per_output = self.in_channels // self.groups * math.prod(self.window.size)
        return math.prod(self.output_shape(input_shape)) * per_output

    def _filters(self) -> Array:
        """Return the weight as ops take it, (O,C/G,KH,KW), flipped if flip_kernel is set."""
        weight = self.weight.data
        if self.data_format == "NHWC":
            weight = weight.transpose(TO_OIHW)  # (KH, KW, C/G, O) -> (O, C/G, KH, KW)
        return weight[:, :, ::-1, ::-1] if self.flip_kernel else weight

    def _to_nchw(self, images: Array) -> Array:
        if self.data_format == "NCHW":
            return images
        return images.transpose(TO_NCHW)  # (N, H, W, C) -> (N, C, H, W)

    def _from_nchw(self, images: Array) -> Array:
        if self.data_format == "NCHW":
            return images
        return images.transpose(TO_NHWC)  # (N, C, H, W) -> (N, H, W, C)

    def _output_size(self, shape: Shape, batch: int) -> Pair:
        """Return (OH, OW), or raise if the images do not fit."""
        _, H, W = image_shape(shape, self, self.in_channels, batch=batch, data_format=self.data_format)
        return self.window.output_size(H, W, self)
