"""Pooling layers: fewer pixels, the same channels."""

from typing import Any, Literal

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.errors.checks import flag
from xpcnn.geometry import Pair, Rounding, Window
from xpcnn.layers.base import Layer
from xpcnn.layers.checks import check_images, image_shape
from xpcnn.layers.shapes import Shape


class Pooling(Layer):
    """The maximum or the mean of every window, channel by channel: (N,C,H,W) -> (N,C,OH,OW).

    Parameters
    ----------
    kernel_size : int or (height, width)
    stride : int or (height, width), default kernel_size
        If it is smaller than kernel_size, windows overlap, as in AlexNet.
    padding : int, (height, width), ((top, bottom), (left, right)), "same" or "valid"
        Minus infinity for the maximum, zero for the mean; smaller than the kernel.
    mode : "max" or "average"
    rounding : "floor", "ceil" or "exact"
        What to do when the stride does not divide; "exact" raises.
    count_include_pad : bool
        For the mean: divide by the size of the window even where it reaches beyond the image.

    Raises
    ------
    ShapeError
        At construction, for invalid sizes; in forward, for other than four axes or a window that fits nowhere.

    References
    ----------
    Boureau, Ponce and LeCun, "A Theoretical Analysis of Feature Pooling in Visual Recognition", ICML 2010.

    Examples
    --------
    >>> Pooling(3, stride=2, rounding="ceil").output_shape((64, 112, 112))
    (64, 56, 56)
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: Any = 0,
        mode: Literal["max", "average"] = "max",
        rounding: Rounding = "floor",
        count_include_pad: bool = False,
    ) -> None:
        if mode not in ("max", "average"):
            raise ShapeError(f"Pooling: mode must be 'max' or 'average', got {mode!r}; pass 'max', say")
        self.kernel_size, self.stride, self.padding, self.mode = kernel_size, stride, padding, mode
        self.rounding = rounding
        self.count_include_pad = flag(count_include_pad, "count_include_pad", "Pooling")
        stride = kernel_size if stride is None else stride
        self.window = Window(kernel_size, stride, padding, rounding=rounding)
        if self.window.padding != "same":
            for size, before_and_after in zip(self.window.size, self.window.padding, strict=True):
                if max(before_and_after) >= size:
                    raise ShapeError(
                        f"{self}: padding {max(before_and_after)} must be smaller than the kernel's {size}, or a "
                        f"window would hold padding only; pass padding={size - 1} or less"
                    )

    def forward(self, x: Array) -> Array:
        self.check(x)
        if self.mode == "average":
            self.save_for_backward(x.shape[2:], None)
            return ops.average_pool(x, self.window, self.count_include_pad)
        y, winner = ops.max_pool(x, self.window)
        self.save_for_backward(x.shape[2:], winner)
        return y

    def check(self, x: Array) -> None:
        """Raise unless x is a batch of images that the window fits into."""
        check_images(x, self)
        H, W = x.shape[2:]
        self.window.output_size(H, W, self)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        image_size, winner = self.pop_saved()
        if not need_dx:
            return None
        if winner is None:
            return ops.average_pool_backward(dy, image_size, self.window, self.count_include_pad)
        return ops.max_pool_backward(dy, winner, image_size, self.window)

    def output_shape(self, input_shape: Shape) -> Shape:
        C, H, W = image_shape(input_shape, self)
        return C, *self.window.output_size(H, W, self)


class GlobalAveragePooling(Layer):
    """The mean of every channel: (N,C,H,W) -> (N,C).

    Lin, Chen and Yan, "Network In Network", ICLR 2014, section 3.2.
    """

    def forward(self, x: Array) -> Array:
        check_images(x, self)
        self.save_for_backward(x.shape[2:])
        return ops.average_pool(x, Window(x.shape[2:]))[:, :, 0, 0]

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (image_size,) = self.pop_saved()
        if not need_dx:
            return None
        return ops.average_pool_backward(dy[:, :, None, None], image_size, Window(image_size))

    def output_shape(self, input_shape: Shape) -> Shape:
        return image_shape(input_shape, self)[:1]


class GlobalMaxPooling(Layer):
    """The maximum of every channel: (N,C,H,W) -> (N,C). Its gradient goes to the first of the largest pixels."""

    def forward(self, x: Array) -> Array:
        check_images(x, self)
        y, winner = ops.max_pool(x, Window(x.shape[2:]))
        self.save_for_backward(x.shape[2:], winner)
        return y[:, :, 0, 0]

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        image_size, winner = self.pop_saved()
        if not need_dx:
            return None
        return ops.max_pool_backward(dy[:, :, None, None], winner, image_size, Window(image_size))

    def output_shape(self, input_shape: Shape) -> Shape:
        return image_shape(input_shape, self)[:1]
