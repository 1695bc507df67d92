"""Convolution as the plain and the compiled substitutes share it: memory order, threads, and the two ways to dx.

    y  = correlation of x with the filters                      a thread: a range of rows of y
    dW = sum over rows of dy of  dy . im2col(x)^T               a thread: shares of the rows of dy, see `shares`
    dx = correlation of dy with the flipped filters, or         a thread: a range of rows of dx
         col2im of W^T . dy, see `col2im`                       a thread: a range of channels of dx

A kind of substitutes brings two functions on (H,C,W,N), where `pad` is (top, left):

    correlation(x, weight, bias, window, groups, pad, y)     -> a function (start, stop) that writes rows of y
    weight_gradient(dy, x, weight, window, groups, pad)      -> tasks, and the function that then writes dW, returns db
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from xpcnn.geometry import Pair, Window
from xpcnn.kernels.cpu import shares, threads
from xpcnn.kernels.cpu.col2im import col2im_tasks
from xpcnn.kernels.cpu.layout import Array, as_images, rows_first


def forward(
    correlation: Callable[..., Any], x: Array, weight: Array, bias: Array | None, window: Window, groups: int
) -> Array:
    """Return y as a view of (OH,O,OW,N)."""
    (top, _), (left, _) = window.pads(*x.shape[2:])
    OH, OW = window.output_size(*x.shape[2:])
    y = np.empty((OH, len(weight), OW, len(x)), x.dtype)
    write = correlation(rows_first(x), weight, bias, window, groups, (top, left), y)
    threads.in_parallel(write, OH, products=y.size * weight[0].size)
    return as_images(y)


def backward(
    correlation: Callable[..., Any], weight_gradient: Callable[..., Any], dy: Array, x: Array, weight: Array,
    window: Window, groups: int, need_dx: bool, by_correlation: bool, out: Array | None,
) -> tuple[Array | None, Array, Array]:  # fmt: skip
    """Return (dx, dW, db), dW in `out` if given; with `by_correlation` and stride 1 dx is a correlation of dy."""
    (top, _), (left, _) = window.pads(*x.shape[2:])
    rows, drows, dx = rows_first(x), rows_first(dy), None
    tasks, gradients = weight_gradient(drows, rows, weight, window, groups, (top, left))
    if need_dx:
        dx = np.empty(rows.shape, dy.dtype)
        if by_correlation and window.stride == (1, 1):
            filters, of_dy, pad = flipped(weight, window, (top, left), groups)
            write = correlation(drows, filters, None, of_dy, groups, pad, dx)
            ranges = shares.equal(len(dx), min(threads.count(), len(dx)))
            tasks += [partial(write, rows.start, rows.stop) for rows in ranges]
        else:
            tasks += col2im_tasks(drows, weight, window, (top, left), groups, dx)
    threads.in_turn(tasks, products=(1 + need_dx) * dy.size * weight[0].size)
    dweight = np.empty(weight.shape, dy.dtype) if out is None else out
    dbias = gradients(dweight)
    return None if dx is None else as_images(dx), dweight, dbias


def flipped(weight: Array, window: Window, pad: Pair, groups: int) -> tuple[Any, Window, Pair]:
    """Return the filters, window and padding with which dx is a correlation of dy, where the stride is 1.

    Filters are flipped along height and width, and output and input channels are swapped: (O,C/G,KH,KW) ->
    (C,O/G,KH,KW).
    """
    O, C, KH, KW = weight.shape
    filters = weight[:, :, ::-1, ::-1].reshape(groups, O // groups, C, KH, KW).swapaxes(1, 2)
    filters = filters.reshape(groups * C, O // groups, KH, KW)  # (C, O/G, KH, KW)
    top, left = (extent - 1 - begin for extent, begin in zip(window.extent, pad, strict=True))
    return filters, Window(window.size, 1, 0, window.dilation), (top, left)
