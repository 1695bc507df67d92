"""Transposed convolution: the adjoint of convolution, so small images become large ones."""

from xpcnn.backend import Array, accelerated
from xpcnn.geometry import Window
from xpcnn.ops.conv import conv
from xpcnn.ops.normalization import channel_sums
from xpcnn.ops.windows import col2im, im2col


@accelerated
def conv_transpose(
    x: Array, weight: Array, bias: Array | None, image_size: tuple[int, int], window: Window, groups: int = 1
) -> Array:
    """Add a filter times each pixel of x where a convolution of y would read it: (N,C,H,W) -> (N,O,OH,OW).

        y = col2im(W^T x) + b        (OH, OW) = image_size, whose windows are H x W

    weight is (C,O/G,KH,KW), that of the convolution from O to C channels whose transpose this is.

    References
    ----------
    Zeiler, Krishnan, Taylor and Fergus, "Deconvolutional Networks", CVPR 2010; Dumoulin and Visin, "A guide to
    convolution arithmetic", arXiv:1603.07285, section 4.
    """
    N, C, H, W = x.shape
    pixels = x.swapaxes(0, 1).reshape(groups, C // groups, N * H * W)  # (N, C, H, W) -> (G, C/G, N*H*W)
    filters = weight.reshape(groups, C // groups, -1)  # (C, O/G, KH, KW) -> (G, C/G, O/G*KH*KW)
    cols = filters.swapaxes(1, 2) @ pixels  # (G, O/G*KH*KW, C/G) @ (G, C/G, N*H*W)
    cols = cols.reshape(-1, *window.size, N, H, W)  # (G, O/G*KH*KW, N*H*W) -> (O, KH, KW, N, H, W)
    y = col2im(cols, image_size, window)
    return y if bias is None else y + bias.reshape(-1, 1, 1)  # (O,) -> (O, 1, 1)


@accelerated
def conv_transpose_backward(
    dy: Array, x: Array, weight: Array, window: Window, groups: int = 1, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """Return (dx, dweight, dbias): dx = conv(dy, W), dW = x im2col(dy)^T, db = sum dy."""
    N, C, H, W = x.shape
    pixels = x.swapaxes(0, 1).reshape(groups, C // groups, N * H * W)  # (N, C, H, W) -> (G, C/G, N*H*W)
    cols = im2col(dy, window).reshape(groups, -1, N * H * W)  # (O, KH, KW, N, H, W) -> (G, O/G*KH*KW, N*H*W)
    dweight = pixels @ cols.swapaxes(1, 2)  # (G, C/G, N*H*W) @ (G, N*H*W, O/G*KH*KW)
    dx = conv(dy, weight, None, window, groups) if need_dx else None
    return dx, dweight.reshape(weight.shape), channel_sums(dy)  # (G, C/G, O/G*KH*KW) -> (C, O/G, KH, KW)
