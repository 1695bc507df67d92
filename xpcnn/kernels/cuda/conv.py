"""Convolution: im2col, a matrix product by cuBLAS, and one kernel for the bias and the order of the axes.

The columns of a whole batch are KH*KW times as large as the images. They are made for as many images at a time as fit
into a workspace, so memory does not grow with the batch.
"""

from collections.abc import Iterator
from typing import Any

from xpcnn.geometry import Window
from xpcnn.kernels.cuda.col2im import col2im
from xpcnn.kernels.cuda.im2col import im2col
from xpcnn.kernels.cuda.launch import THREADS, Device
from xpcnn.kernels.precision import computing

WORKSPACE = 1 << 28
"""Bytes of columns at a time."""


def conv(device: Device, x: Any, weight: Any, bias: Any, window: Window, groups: int = 1) -> Any:
    """Substitute for `xpcnn.ops.conv`; the result is contiguous, (N,O,OH,OW)."""
    xp, O, (OH, OW) = device.xp, len(weight), window.output_size(*x.shape[2:])
    (x,) = device.contiguous(x)
    y = xp.empty((len(x), O, OH, OW), x.dtype)
    bias = xp.zeros(O, x.dtype) if bias is None else device.contiguous(bias)[0]
    filters = weight.reshape(groups, O // groups, -1)  # (G, O/G, C/G*KH*KW)
    for images in _pieces(x, window):
        cols = im2col(device, x[images], window)  # (C, KH, KW, n, OH, OW)
        cols = cols.reshape(groups, filters.shape[2], -1)  # (G, C/G*KH*KW, n*OH*OW)
        product = _multiply(filters, cols)  # (G, O/G, n*OH*OW)
        result = y[images]
        sizes = {"N": len(result), "O": O, "P": OH * OW}
        device.launch("add_bias", result.size, product=product, bias=bias, y=result, **sizes)
        del cols, product  # so that the next piece takes their place, and not as much again
    return y


def conv_backward(
    device: Device, dy: Any, x: Any, weight: Any, window: Window, groups: int = 1, need_dx: bool = True
) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.conv_backward`."""
    xp, O, (OH, OW) = device.xp, len(weight), dy.shape[2:]
    dy, x = device.contiguous(dy, x)
    filters = weight.reshape(groups, O // groups, -1)  # (G, O/G, C/G*KH*KW)
    dx = xp.empty(x.shape, x.dtype) if need_dx else None
    real = computing(x.dtype)
    dweight, dbias = xp.zeros(filters.shape, real), xp.zeros(O, real)
    for images in _pieces(x, window):
        cols = im2col(device, x[images], window)  # (C, KH, KW, n, OH, OW)
        n = cols.shape[3]
        dproduct = xp.empty((groups, O // groups, n * OH * OW), x.dtype)
        device.launch("filters_first", dproduct.size, dy=dy[images], dproduct=dproduct, N=n, O=O, P=OH * OW)
        rows = cols.reshape(groups, filters.shape[2], -1)  # (G, C/G*KH*KW, n*OH*OW)
        dweight += _multiply(dproduct, rows.swapaxes(1, 2))  # (G, O/G, C/G*KH*KW)
        sums = xp.empty(O, real)
        device.launch("row_sum", THREADS * O, values=dproduct, sums=sums, O=O, L=n * OH * OW)
        dbias += sums
        if dx is not None:
            dcols = _multiply(filters.swapaxes(1, 2), dproduct).reshape(cols.shape)  # (C, KH, KW, n, OH, OW)
            dx[images] = col2im(device, dcols, x.shape[2:], window)
            del dcols
        del cols, rows, dproduct  # so that the next piece takes their place, and not as much again
    dweight = dweight.reshape(weight.shape).astype(x.dtype, copy=False)  # (O, C/G, KH, KW)
    return dx, dweight, dbias.astype(x.dtype, copy=False)


def _pieces(x: Any, window: Window) -> Iterator[slice]:
    """Cut the batch into pieces whose columns fit into the workspace, one image at least."""
    OH, OW = window.output_size(*x.shape[2:])
    an_image = x.shape[1] * window.size[0] * window.size[1] * OH * OW * x.dtype.itemsize
    images = max(1, WORKSPACE // max(1, an_image))
    for first in range(0, len(x), images):
        yield slice(first, min(first + images, len(x)))


def _multiply(a: Any, b: Any) -> Any:
    """Return the batched product. A single pair is multiplied in two axes: CuPy then copies no transposed operand."""
    return (a[0] @ b[0])[None] if len(a) == 1 else a @ b
