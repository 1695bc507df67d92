"""Convolution by Numba, without im2col: each tap of a window is an offset into rows that are in the cache.

`rows` has the drawing of these rows, `correlation` that of the two sums, `tiles` their innermost loops. Taps in the
rows of padding above and below the image are left out.
"""

from functools import partial
from itertools import product
from math import prod
from typing import Any

import numpy as np

from xpcnn.geometry import Pair, Window
from xpcnn.kernels.cpu import conv as shared
from xpcnn.kernels.cpu import shares, threads
from xpcnn.kernels.cpu.compiled.compiler import compilable
from xpcnn.kernels.cpu.compiled.correlation import correlate, weight_gradient
from xpcnn.kernels.cpu.compiled.rows import plan, ring_shape
from xpcnn.kernels.cpu.compiled.tiles import VECTORS
from xpcnn.kernels.cpu.layout import Array
from xpcnn.kernels.cpu.plain.conv import conv as plain_conv
from xpcnn.kernels.cpu.plain.conv import conv_backward as plain_conv_backward
from xpcnn.kernels.cpu.workspace import workspace
from xpcnn.kernels.registry import substitute

SHORT, MANY = 256, 32
"""With rows of fewer numbers, and as many channels, NumPy's kernel is faster, whose products are BLAS's. With one
image and 64 channels of 28 x 28 pixels it was by a half; with 16 channels it was not, whatever the rows."""


@substitute("compiled")
def conv(x: Any, weight: Any, bias: Any, window: Window, groups: int = 1) -> Any:
    """Substitute for `xpcnn.ops.conv`."""
    bias_fits = bias is None or (bias.dtype, bias.shape) == (x.dtype, weight.shape[:1])
    if not bias_fits or not _fits(x, weight, window, groups):
        return plain_conv(x, weight, bias, window, groups)
    return shared.forward(_correlation, x, weight, bias, window, groups)


@substitute("compiled")
def conv_backward(
    dy: Any, x: Any, weight: Any, window: Window, groups: int = 1, need_dx: bool = True, out: Any = None
) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.conv_backward`."""
    shape = len(x), len(weight), *window.output_size(*x.shape[2:])
    if not _fits(x, weight, window, groups) or (dy.dtype, dy.shape) != (x.dtype, shape):
        return plain_conv_backward(dy, x, weight, window, groups, need_dx, out)
    return shared.backward(_correlation, _weight_gradient, dy, x, weight, window, groups, need_dx, True, out)


def _correlation(
    x: Array, weight: Array, bias: Array | None, window: Window, groups: int, pad: Pair, y: Array
) -> Any:
    """Return the function (start, stop) that writes rows of y, for x padded by `pad` = (top, left)."""
    (H, C, W, N), (OH, O, OW, _) = x.shape, y.shape
    P = _tile_height(O // groups)
    panels = _in_tiles(weight.swapaxes(1, 2).reshape(groups, O // groups, -1), P)  # (G, T, P, KH*C/G*KW)
    panels = np.ascontiguousarray(panels.swapaxes(2, 3))  # (G, T, KH*C/G*KW, P)
    biases = np.zeros(O, x.dtype) if bias is None else bias
    biases = _in_tiles(biases.reshape(groups, O // groups, 1), P)  # (G, T, P, 1)
    layout = plan(window, pad, OW, C * x.itemsize, N)
    pixels, results = x.reshape(H, C, W * N), y.reshape(OH, O, OW * N)
    unroll, ring = ((0,) * P, (0,) * VECTORS[P]), ring_shape(layout, C, x.itemsize)

    def write(start: int, stop: int) -> None:
        correlate(pixels, panels, biases, results, layout, *unroll, start, stop, workspace(ring, x.dtype))

    return write


def _weight_gradient(dy: Array, x: Array, weight: Array, window: Window, groups: int, pad: Pair) -> Any:
    """Return tasks that add up the shares of the rows of dy, and the function that writes dW and returns db.

    The sums of a share are dW as (G,O/G,KH*C/G*KW) in whole tiles, and db as (O,) in double precision: it is one number
    of many, where rounding may go one way. The shares are the same for any number of threads. Where there are more
    threads than shares each share has several tasks, with different filters, which changes no sum.
    """
    (OH, O, OW, N), (H, C, W, _), (_, CG, KH, KW) = dy.shape, x.shape, weight.shape
    P, V, K = 4, VECTORS[4], prod(weight.shape[1:])
    rows = shares.of_gradient(dy, O * K * x.itemsize, dy.size * K)
    bounds = np.array([0, *(share.stop for share in rows)])
    dweights = np.zeros((len(rows), groups, _round_up(O // groups, P), _round_up(K, V)), x.dtype)
    dbiases = np.zeros((len(rows), O))
    layout = plan(window, pad, OW, C * x.itemsize, N)
    gradients, pixels = dy.reshape(OH, O, OW * N), x.reshape(H, C, W * N)
    unroll, ring = ((0,) * P, (0,) * V), ring_shape(layout, C, x.itemsize)

    def add(share: slice, tiles: slice) -> None:
        ranges = (share.start, share.stop), (tiles.start, tiles.stop)
        weight_gradient(
            gradients, pixels, dweights, dbiases, layout, *unroll, bounds, *ranges, workspace(ring, x.dtype)
        )

    def sums(dweight: Array) -> Array:
        by_rows = dweights.sum(axis=0)[:, : O // groups, :K].reshape(O, KH, CG, KW)  # (O, KH, C/G, KW)
        dweight[...] = by_rows.swapaxes(1, 2)
        dbias: Array = dbiases.sum(axis=0).astype(dy.dtype)
        return dbias

    tiles = dweights.shape[2] // P
    of_tiles = shares.equal(tiles, min(-(-threads.count() // len(rows)), tiles))
    of_shares = shares.equal(len(rows), min(threads.count(), len(rows)))
    return [partial(add, *both) for both in product(of_shares, of_tiles)], sums


def _fits(x: Array, weight: Array, window: Window, groups: int) -> bool:
    """Tell whether the compiled kernel is the faster one, and may take the arrays: it checks no shape and no dtype."""
    if not compilable(x, weight) or x.shape[1] != groups * weight.shape[1] or len(weight) % groups:
        return False
    row = window.output_size(*x.shape[2:])[1] * len(x)
    return row >= SHORT or min(weight.shape[1], len(weight) // groups) < MANY


def _tile_height(filters: int) -> int:
    """Return P, of 4 and 6 the one that leaves less of its last tile empty."""
    return filters if filters in (1, 2) else min((4, 6), key=lambda P: _round_up(filters, P))


def _in_tiles(array: Array, P: int) -> Array:
    """Cut axis 1 into tiles of P, the last one filled with zeros: (G,O,K) -> (G,T,P,K)."""
    G, O, K = array.shape
    tiles = np.zeros((G, _round_up(O, P), K), array.dtype)
    tiles[:, :O] = array
    return tiles.reshape(G, -1, P, K)  # (G, T, P, K)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
