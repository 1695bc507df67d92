"""The transposed convolution layer."""

import math

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.errors.checks import flag
from xpcnn.geometry import Pair, Window, pair
from xpcnn.initializers import Initializer, he_normal
from xpcnn.layers.base import check_dtype
from xpcnn.layers.checks import check_groups, image_shape
from xpcnn.layers.shapes import Shape
from xpcnn.layers.weights import Weighted, drawn
from xpcnn.random import Seed


class ConvTranspose(Weighted):
    """The transpose of a convolution, which makes small maps large: (N,C,H,W) -> (N,O,OH,OW).

        OH = (H - 1) SH - 2 PH + DH (KH - 1) + 1 + output_padding,  and OW likewise

    ``Conv(O, C, ...)`` with the same arguments maps y's shape to x's; the forward of this layer is its dL/dx.

    Parameters
    ----------
    in_channels, out_channels : int
        C and O.
    kernel_size, stride, dilation : int or (height, width)
    padding : int or (height, width)
        The padding of that convolution: here it is cut off at each side.
    output_padding : int or (height, width)
        Rows and columns to add at the bottom and at the right, fewer than the stride: with a stride above 1 images of
        several sizes are convolved to the size of x.
    groups : int
        Divides C and O.
    bias : bool
    initializer : function of (shape, rng), default he_normal
        Draws the weight, (C,O/G,KH,KW).
    rng : numpy Generator or seed

    Raises
    ------
    ShapeError
        At construction, for invalid sizes or an initializer that draws another shape; in forward, for images with
        other channels or axes.
    DtypeError
        For images of another dtype than the weight's, or a weight that is not floating.
    HyperparameterError
        For an initializer that draws numbers that are not finite.

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
        check_groups(in_channels, out_channels, groups, "ConvTranspose")
        with_bias = flag(bias, "bias", "ConvTranspose")
        self.window = Window(kernel_size, stride, padding, dilation)
        self._added = pair(output_padding, "output_padding", 0)
        if any(added >= step for added, step in zip(self._added, self.window.stride, strict=True)):
            raise ShapeError(
                f"ConvTranspose: output_padding must be smaller than the stride {self.window.stride}, got "
                f"{output_padding}; pass 0"
            )
        shape = in_channels, out_channels // groups, *self.window.size
        self._own(drawn(initializer, shape, rng, "ConvTranspose"), out_channels, with_bias)

    def forward(self, x: Array) -> Array:
        image_size = self._output_size(x.shape, batch=1)
        check_dtype(x, self.weight, self)
        self.save_for_backward(x)
        return ops.conv_transpose(x, self.weight.data, self._bias(), image_size, self.window, self.groups)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (x,) = self.pop_saved()
        dx, dweight, dbias = ops.conv_transpose_backward(
            dy, x, self.weight.data, self.window, self.groups, need_dx
        )
        self._add_gradients(dweight, dbias)
        return dx

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.out_channels, *self._output_size(input_shape, batch=0)

    def multiply_adds(self, input_shape: Shape) -> int:
        return math.prod(input_shape) * (self.out_channels // self.groups) * math.prod(self.window.size)

    def _output_size(self, shape: Shape, batch: int) -> Pair:
        """Return (OH, OW), or raise if the images do not fit."""
        _, *size = image_shape(shape, self, self.in_channels, batch=batch)
        window, pads = self.window, self.window.pads(*size)
        OH, OW = (
            (size[i] - 1) * window.stride[i] - sum(pads[i]) + window.extent[i] + self._added[i]
            for i in (0, 1)
        )
        if min(OH, OW) < 1:
            raise ShapeError(f"{self}: the padding leaves nothing of {tuple(shape)}; pass a smaller padding")
        return OH, OW
