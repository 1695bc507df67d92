"""Convolution as one matrix product over im2col: Y = W . im2col(X) + b."""

from xpcnn.backend import Array, accelerated
from xpcnn.geometry import Window
from xpcnn.kernels.precision import in_single
from xpcnn.ops.normalization import channel_sums
from xpcnn.ops.windows import col2im, im2col


@accelerated
@in_single
def conv(x: Array, weight: Array, bias: Array | None, window: Window, groups: int = 1) -> Array:
    """Slide every filter over every image (cross-correlation): (N,C,H,W) * (O,C/G,KH,KW) -> (N,O,OH,OW).

        y[n, o, p, q] = b[o] + sum over c, i, j of  w[o, c, i, j] x[n, c, SH p + DH i - top, SW q + DW j - left]

    With G groups, output channels of group g read the input channels of group g only, and the product is
    one batched product, (G, O/G, C/G*KH*KW) @ (G, C/G*KH*KW, N*OH*OW).
    """
    N, O, (OH, OW) = len(x), len(weight), window.output_size(*x.shape[2:])
    filters = weight.reshape(groups, O // groups, -1)  # (O, C/G, KH, KW) -> (G, O/G, C/G*KH*KW)
    cols = im2col(x, window)  # (C, KH, KW, N, OH, OW)
    cols = cols.reshape(groups, filters.shape[2], -1)  # -> (G, C/G*KH*KW, N*OH*OW)
    y = (filters @ cols).reshape(O, N, OH, OW)  # (G, O/G, N*OH*OW) -> (O, N, OH, OW)
    if bias is not None:
        y += bias.reshape(O, 1, 1, 1)  # (O,) -> (O, 1, 1, 1)
    return y.swapaxes(0, 1)  # (O, N, OH, OW) -> (N, O, OH, OW)


@accelerated
@in_single
def conv_backward(
    dy: Array, x: Array, weight: Array, window: Window, groups: int = 1, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """Return (dx, dweight, dbias), from dy of (N,O,OH,OW).

        dW = dY . im2col(X)^T        db = dY . 1        dX = col2im(W^T . dY)

    The columns are computed again, not kept since forward: they are KH*KW times as large as x.
    dx is None unless `need_dx`.
    """
    N, O, OH, OW = dy.shape
    dbias = channel_sums(dy)
    dy = dy.swapaxes(0, 1).reshape(groups, O // groups, N * OH * OW)  # (N, O, OH, OW) -> (G, O/G, N*OH*OW)
    filters = weight.reshape(groups, O // groups, -1)  # (O, C/G, KH, KW) -> (G, O/G, C/G*KH*KW)
    cols = im2col(x, window)  # (C, KH, KW, N, OH, OW)
    rows = cols.reshape(groups, filters.shape[2], -1).swapaxes(1, 2)  # -> (G, N*OH*OW, C/G*KH*KW)
    dweight = (dy @ rows).reshape(weight.shape)  # (G, O/G, C/G*KH*KW) -> (O, C/G, KH, KW)
    if not need_dx:
        return None, dweight, dbias
    dcols = filters.swapaxes(1, 2) @ dy  # (G, C/G*KH*KW, O/G) @ (G, O/G, N*OH*OW)
    dx = col2im(dcols.reshape(cols.shape), x.shape[2:], window)  # (C, KH, KW, N, OH, OW) -> (N, C, H, W)
    return dx, dweight, dbias
