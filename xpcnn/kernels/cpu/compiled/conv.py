"""Convolution without unrolling: each tap of a window is an offset into rows that lie in the cache.

Nothing is multiplied by the rows of padding above and below the image. dx is a convolution of dy with the kernel
turned by 180 degrees where the stride is 1; else the columns are added back, as in `xpcnn.kernels.cpu.plain.conv`.
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from math import prod
from typing import Any

import numpy as np

from xpcnn.geometry import Pair, Window
from xpcnn.kernels.cpu import shares, threads
from xpcnn.kernels.cpu.compiled.compiler import compilable
from xpcnn.kernels.cpu.compiled.correlation import correlate, weight_gradient
from xpcnn.kernels.cpu.compiled.rows import plan, ring_shape
from xpcnn.kernels.cpu.compiled.tiles import VECTORS
from xpcnn.kernels.cpu.layout import Array, as_images, rows_first
from xpcnn.kernels.cpu.plain.conv import conv as numpy_conv
from xpcnn.kernels.cpu.plain.conv import conv_backward as numpy_conv_backward
from xpcnn.kernels.cpu.plain.conv import scatter, turned
from xpcnn.kernels.cpu.workspace import workspace

SHORT, MANY = 256, 32
"""Rows of fewer numbers, and as many channels: NumPy's kernel, whose products are BLAS's, is faster there. With one
image and 64 channels of 28 x 28 pixels it was by a half; with 16 channels it was not, whatever the rows."""


def conv(x: Any, weight: Any, bias: Any, window: Window, groups: int = 1) -> Any:
    """Substitute for `xpcnn.ops.conv`."""
    biased = bias is None or (bias.dtype, bias.shape) == (x.dtype, weight.shape[:1])
    if not biased or not _fits(x, weight, window, groups):
        return numpy_conv(x, weight, bias, window, groups)
    (top, _), (left, _) = window.pads(*x.shape[2:])
    OH, OW = window.output_size(*x.shape[2:])
    y = np.empty((OH, len(weight), OW, len(x)), x.dtype)
    write = _correlation(rows_first(x), weight, bias, window, groups, (top, left), y)
    threads.in_parallel(write, OH, products=y.size * weight[0].size)
    return as_images(y)


def conv_backward(
    dy: Any, x: Any, weight: Any, window: Window, groups: int = 1, need_dx: bool = True, out: Any = None
) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.conv_backward`."""
    shape = len(x), len(weight), *window.output_size(*x.shape[2:])
    if not _fits(x, weight, window, groups) or (dy.dtype, dy.shape) != (x.dtype, shape):
        return numpy_conv_backward(dy, x, weight, window, groups, need_dx, out)
    (top, _), (left, _) = window.pads(*x.shape[2:])
    rows, drows, products = rows_first(x), rows_first(dy), dy.size * weight[0].size
    dx = np.empty(rows.shape, x.dtype) if need_dx else None
    (dweights, dbiases), tasks = _weight_gradient(drows, rows, weight.shape, window, groups, (top, left))
    if dx is not None and window.stride == (1, 1):
        kernel, dense, before = turned(weight, window, (top, left), groups)
        write = _correlation(drows, kernel, None, dense, groups, before, dx)
        parts = shares.equal(len(dx), min(threads.count(), len(dx)))
        tasks += [partial(write, part.start, part.stop) for part in parts]
    elif dx is not None:
        tasks += scatter(drows, weight, window, (top, left), groups, dx)
    threads.in_turn(tasks, products=(1 + need_dx) * products)
    (O, C, KH, KW), dbias = weight.shape, dbiases.sum(axis=0).astype(dy.dtype)  # C of a group
    sums = dweights.sum(axis=0)[:, : O // groups, : weight[0].size].reshape(O, KH, C, KW)
    dweight = np.empty(weight.shape, dy.dtype) if out is None else out
    dweight[...] = sums.swapaxes(1, 2)
    return None if dx is None else as_images(dx), dweight, dbias


def _correlation(
    x: Array, weight: Array, bias: Array | None, window: Window, groups: int, before: Pair, y: Array
) -> Callable[[int, int], None]:
    """Return what slides filters over rows that begin `before` = (top, left) pixels late, and writes rows of y."""
    (H, C, W, N), (OH, O, OW, _) = x.shape, y.shape
    P = _tile_height(O // groups)
    panels = _in_tiles(weight.swapaxes(1, 2).reshape(groups, O // groups, -1), P)  # (G, T, P, K)
    panels = np.ascontiguousarray(panels.swapaxes(2, 3))  # (G, T, K, P)
    biases = np.zeros(O, x.dtype) if bias is None else bias
    biases = _in_tiles(biases.reshape(groups, O // groups, 1), P)  # (G, T, P, 1)
    layout = plan(window, before, OW, C * x.itemsize, N)
    pixels, results = x.reshape(H, C, W * N), y.reshape(OH, O, OW * N)
    tile, ring = ((0,) * P, (0,) * VECTORS[P]), ring_shape(layout, C, x.itemsize)

    def write(start: int, stop: int) -> None:
        correlate(pixels, panels, biases, results, layout, *tile, start, stop, workspace(ring, x.dtype))

    return write


def _weight_gradient(
    dy: Array, x: Array, shape: tuple[int, ...], window: Window, groups: int, before: Pair
) -> tuple[tuple[Array, Array], list[Callable[[], None]]]:
    """Return each share's sums, dW as (S,G,O/G,KH*C/G*KW) in whole tiles and db as (S,O), and tasks that add them up.

    The sums of db are in double precision: it is one number of many, where rounding may go one way.
    The shares are the same for any number of threads. Which filters a task computes makes no difference to their sums:
    where there are more threads than shares each share has several tasks.
    """
    (OH, O, OW, N), (H, C, W, _) = dy.shape, x.shape
    P, V, K = 4, VECTORS[4], prod(shape[1:])
    parts = shares.of_gradient(dy, O * K * x.itemsize, dy.size * K)
    bounds = np.array([0, *(part.stop for part in parts)])
    dweights = np.zeros((len(parts), groups, _round_up(O // groups, P), _round_up(K, V)), x.dtype)
    dbiases = np.zeros((len(parts), O))
    layout = plan(window, before, OW, C * x.itemsize, N)
    gradients, pixels = dy.reshape(OH, O, OW * N), x.reshape(H, C, W * N)
    tile, ring = ((0,) * P, (0,) * V), ring_shape(layout, C, x.itemsize)

    def add(some: slice, tiles: slice) -> None:
        ranges = (some.start, some.stop), (tiles.start, tiles.stop)
        weight_gradient(
            gradients, pixels, dweights, dbiases, layout, *tile, bounds, *ranges, workspace(ring, x.dtype)
        )

    tiles = dweights.shape[2] // P
    of_tiles = shares.equal(tiles, min(-(-threads.count() // len(parts)), tiles))
    of_shares = shares.equal(len(parts), min(threads.count(), len(parts)))
    return (dweights, dbiases), [partial(add, *both) for both in product(of_shares, of_tiles)]


def _fits(x: Array, weight: Array, window: Window, groups: int) -> bool:
    """Tell whether it is faster here, and all is as compiled code takes it on trust; else NumPy's kernel sees to it."""
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
    return tiles.reshape(G, -1, P, K)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
