"""The upsampling layer."""

from typing import Literal

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.geometry import Pair, pair
from xpcnn.layers.base import Layer
from xpcnn.layers.checks import check_images, image_shape
from xpcnn.layers.shapes import Shape


class Upsample(Layer):
    """More pixels, the same channels: (N,C,H,W) -> (N,C,SH*H,SW*W).

    Parameters
    ----------
    scale : int or (height, width)
    mode : "nearest" or "bilinear"
        Repeat every pixel, or interpolate linearly between pixel centres (align_corners=False, as others call it).

    Raises
    ------
    ShapeError
        At construction, for a scale below 1 or another mode; in forward, for other than four axes.

    Examples
    --------
    >>> Upsample(2).output_shape((8, 7, 7))
    (8, 14, 14)
    """

    def __init__(self, scale: int | Pair, mode: Literal["nearest", "bilinear"] = "nearest") -> None:
        if mode not in ("nearest", "bilinear"):
            raise ShapeError(f"Upsample: mode must be 'nearest' or 'bilinear', got {mode!r}; pass 'nearest'")
        self.scale, self.mode, self._pair = scale, mode, pair(scale, "scale")

    def forward(self, x: Array) -> Array:
        check_images(x, self)
        upsample = ops.upsample_nearest if self.mode == "nearest" else ops.upsample_bilinear
        return upsample(x, self._pair)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        if not need_dx:
            return None
        backward = ops.upsample_nearest_backward if self.mode == "nearest" else ops.upsample_bilinear_backward
        return backward(dy, self._pair)

    def output_shape(self, input_shape: Shape) -> Shape:
        (C, H, W), (SH, SW) = image_shape(input_shape, self), self._pair
        return C, SH * H, SW * W
