"""im2col and its adjoint: every window of an image as a column of a matrix.

One matrix product then multiplies a filter with all windows of all images. The columns hold a copy of each pixel for
every window that contains it, KH*KW copies in all; col2im adds these copies up again.
"""

from xpcnn.backend import Array, accelerated, xp
from xpcnn.geometry import Window
from xpcnn.kernels.precision import in_single


def pad(x: Array, window: Window, fill: float = 0) -> Array:
    """Add a border of `fill` where the window reaches beyond the images: (N,C,H,W) -> (N,C,H+PH,W+PW)."""
    borders = window.borders(*x.shape[-2:])
    if borders == ((0, 0), (0, 0)):
        return x
    return xp.pad(x, ((0, 0), (0, 0), *borders), constant_values=fill)


def crop(padded: Array, image_size: tuple[int, int], window: Window) -> Array:
    """Undo `pad`: the (N,C,H,W) view of the pixels inside the border."""
    (H, W), ((top, _), (left, _)) = image_size, window.borders(*image_size)
    return padded[..., top : top + H, left : left + W]


def padded_shape(shape: tuple[int, ...], window: Window) -> tuple[int, ...]:
    """Return the shape of ``pad(x, window)`` for x of this shape."""
    *lead, H, W = shape
    (top, bottom), (left, right) = window.borders(H, W)
    return (*lead, top + H + bottom, left + W + right)


@accelerated
def im2col(x: Array, window: Window, fill: float = 0) -> Array:
    """Copy every receptive field of x into a column: (N,C,H,W) -> (C,KH,KW,N,OH,OW).

        cols[c, i, j, n, p, q] = x[n, c, SH p + DH i - top, SW q + DW j - left], or `fill` beyond the image

    A window per column, as in Caffe; the book's window per row is the transpose of it. The filters, (O, C*KH*KW), are
    multiplied with it as a matrix of (C*KH*KW, N*OH*OW).

    References
    ----------
    Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for Document Processing",
    IWFHR 2006, section 3.1.
    """
    N, C, H, W = x.shape
    OH, OW = window.output_size(H, W)
    padded = pad(x, window, fill)
    cols = xp.empty((C, *window.size, N, OH, OW), x.dtype)
    for (i, j), pixels in window.taps(OH, OW):
        cols[:, i, j] = padded[pixels].swapaxes(0, 1)  # (N, C, OH, OW) -> (C, N, OH, OW)
    return cols


@accelerated
@in_single
def col2im(cols: Array, image_size: tuple[int, int], window: Window) -> Array:
    """Adjoint of im2col: add every column back onto the pixels it came from, (C,KH,KW,N,OH,OW) -> (N,C,H,W).

    <im2col(x), cols> = <x, col2im(cols)>     for every x: the gradient of im2col
    """
    C, _, _, N, OH, OW = cols.shape
    padded = xp.zeros(padded_shape((N, C, *image_size), window), cols.dtype)
    for (i, j), pixels in window.taps(OH, OW):
        padded[pixels] += cols[:, i, j].swapaxes(0, 1)  # (C, N, OH, OW) -> (N, C, OH, OW)
    return crop(padded, image_size, window)
