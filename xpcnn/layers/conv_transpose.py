"""The transposed convolution layer."""

import math

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.geometry import Pair, Window
from xpcnn.initializers import Initializer, he_normal
from xpcnn.layers.base import Layer, check_dtype
from xpcnn.layers.parameter import Parameter
from xpcnn.layers.pooling import check_images, image_shape
from xpcnn.layers.shapes import Shape
from xpcnn.random import Seed


class ConvTranspose(Layer):
    """The transpose of a convolution, which makes small maps large: (N,C,H,W) -> (N,O,OH,OW).

        OH = (H - 1) SH - 2 PH + DH (KH - 1) + 1 + output_padding,  OW alike

    ``Conv(O, C, ...)`` of the same sizes maps y's shape to x's, and this layer's forward is that one's dL/dx.

    Parameters
    ----------
    in_channels, out_channels : int
        C and O.
    kernel_size, stride, dilation : int or (height, width)
    padding : int or (height, width)
        That of the convolution: so many rows and columns are cut off here.
    output_padding : int or (height, width)
        With a stride above 1 several sizes of y are convolved to x's; so many rows and columns are added, below and to
        the right. Smaller than the stride.
    groups : int
        Divides C and O.
    bias : bool
    initializer : function of (shape, rng), default he_normal
        Draws the weight, (C,O/G,KH,KW).
    rng : numpy Generator or seed

    Raises
    ------
    ShapeError
        At construction, for sizes that cannot be; in forward, for images of other channels or axes.
    DtypeError
        For images of another dtype than the weight's.

    References
    ----------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, section 4.

    Examples
    --------
    >>> ConvTranspose(16, 8, 4, stride=2, padding=1).output_shape((16, 7, 7))
    (8, 14, 14)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        initializer: Initializer = he_normal,
        rng: Seed = None,
    ) -> None:
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.output_padding, self.dilation = output_padding, dilation
        if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
            raise ShapeError(
                f"ConvTranspose({in_channels}, {out_channels}, groups={groups}): channels must be at least 1, and "
                "groups must divide both; pass groups=1"
            )
        self.window = Window(kernel_size, stride, padding, dilation)
        extra = (output_padding,) * 2 if isinstance(output_padding, int) else tuple(output_padding)
        if not all(0 <= added < stride for added, stride in zip(extra, self.window.stride, strict=True)):
            raise ShapeError(
                f"ConvTranspose: output_padding must be at least 0 and smaller than the stride "
                f"{self.window.stride}, got {output_padding}; pass 0"
            )
        self._extra = extra
        weight = initializer((in_channels, out_channels // groups, *self.window.size), rng)
        self.weight = Parameter(weight)
        self.bias = Parameter(weight.dtype.type(0).repeat(out_channels)) if bias else None

    def forward(self, x: Array) -> Array:
        check_images(x, self)
        _, *size = self.output_shape(x.shape[1:])
        check_dtype(x, self.weight, self)
        self.save_for_backward(x)
        bias = None if self.bias is None else self.bias.data
        return ops.conv_transpose(x, self.weight.data, bias, (size[0], size[1]), self.window, self.groups)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (x,) = self.pop_saved()
        dx, dweight, dbias = ops.conv_transpose_backward(
            dy, x, self.weight.data, self.window, self.groups, need_dx
        )
        self.weight.add_gradient(dweight)
        if self.bias is not None:
            self.bias.add_gradient(dbias)
        return dx

    def output_shape(self, input_shape: Shape) -> Shape:
        C, *size = image_shape(input_shape, self)
        if self.in_channels != C:
            raise ShapeError(
                f"{self}: expected {self.in_channels} channels, got {C} in {tuple(input_shape)}; pass in_channels={C}"
            )
        lengths = [
            (length - 1) * stride - sum(padding) + extent + extra
            for length, stride, padding, extent, extra in zip(
                size,
                self.window.stride,
                self.window.pads(*size),
                self.window.extent,
                self._extra,
                strict=True,
            )
        ]
        if min(lengths) < 1:
            raise ShapeError(f"{self}: nothing is left of {tuple(input_shape)}; pass a smaller padding")
        return self.out_channels, *lengths

    def multiply_adds(self, input_shape: Shape) -> int:
        return math.prod(input_shape) * (self.out_channels // self.groups) * math.prod(self.window.size)
