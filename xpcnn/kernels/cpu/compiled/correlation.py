"""The two sums of convolution over the rows of a ring: of taps for y, of products for dW."""

from typing import Any

import numpy as np

from xpcnn.kernels.cpu.compiled.compiler import compiled
from xpcnn.kernels.cpu.compiled.rows import fill_ring, find_taps
from xpcnn.kernels.cpu.compiled.tiles import REGISTER_BYTES, add_products, sum_of_taps

TAPS = 96
"""Taps at a time: the tile of x that they meet stays in the first cache for all filters. With all 576 of 64
channels at a time a product of two thirds the speed came out."""

PIECE = 960
"""Numbers of an output row at a time, a multiple of all tiles' widths; what they meet stays in the second cache."""


@compiled
def correlate(
    x: Any, panels: Any, bias: Any, y: Any, plan: Any, tall: Any, wide: Any, start: int, stop: int, ring: Any
) -> None:
    """Write output rows from `start` to `stop` of y.

    x is (H,C,W*N), panels (G,T,KH*C/G*KW,P) with T tiles of P filters a group, bias (G,T,P), y (OH,O,OW*N).
    """
    (H, C, _), (_, O, Q), (G, T, K, P) = x.shape, y.shape, panels.shape
    CG, OG, line = C // G, O // G, ring.shape[2]
    pixels, weights, biases, results = ring.reshape(-1), panels.reshape(-1), bias.reshape(-1), y.reshape(-1)
    width = len(wide) * (REGISTER_BYTES // x.itemsize)
    edge, taps = np.empty(P * width, x.dtype), np.empty(K, np.intp)
    for first in range(0, Q // max(plan.N, 1), plan.columns):
        begin, end, done = first * plan.N, min((first + plan.columns) * plan.N, Q), 0
        for oh in range(start, stop):
            done = fill_ring(ring, done, oh, x, first, plan)
            low, high = find_taps(taps, ring, oh, H, CG, plan)
            blocks = max(1, -(-(high - low) // TAPS))
            for left in range(begin, end, PIECE):
                right = min(left + PIECE, end)
                for group in range(G):
                    for block in range(blocks):
                        k = low + (high - low) * block // blocks
                        count = low + (high - low) * (block + 1) // blocks - k
                        for t in range(T):
                            tile, rows = group * T + t, min(P, OG - t * P)
                            weight, to = (tile * K + k) * P, (oh * O + group * OG + t * P) * Q
                            for q in range(left, right, width):
                                whole, columns = rows == P and q + width <= right, min(width, right - q)
                                if not whole and block:
                                    copy(results[to + q :], Q, edge, width, rows, columns)
                                sum_of_taps(
                                    tall, wide, pixels, group * CG * line + q - begin, taps, k, count, weights, weight,
                                    biases, tile * P, block > 0, results if whole else edge,
                                    to + q if whole else 0, Q if whole else width,
                                )  # fmt: skip
                                if not whole:
                                    copy(edge, width, results[to + q :], Q, rows, columns)


@compiled
def copy(source: Any, from_line: int, target: Any, to_line: int, rows: int, columns: int) -> None:
    """Copy a rectangle from rows that are `from_line` apart to rows that are `to_line` apart."""
    for p in range(rows):
        for n in range(columns):
            target[p * to_line + n] = source[p * from_line + n]


@compiled
def weight_gradient(
    dy: Any, x: Any, dweight: Any, dbias: Any, plan: Any, tall: Any, wide: Any, bounds: Any, share: Any, tiles: Any,
    ring: Any,
) -> None:  # fmt: skip
    """Write the sums of the shares of dy's rows from share[0] to share[1], for the tiles from tiles[0] to tiles[1].

    dy is (OH,O,OW*N), x (H,C,W*N); share s of S has rows from bounds[s] to bounds[s + 1]. Of zeros, dbias is (S,O), and
    dweight (S,G,O/G,KH*C/G*KW), its last two axes rounded up to whole tiles. A tile has P filters of each group.
    dbias is in double precision.
    """
    (_, O, Q), (H, C, _), (_, G, OP, KP) = dy.shape, x.shape, dweight.shape
    P, V, lanes = len(tall), len(wide), REGISTER_BYTES // x.itemsize
    CG, OG, line = C // G, O // G, ring.shape[2]
    K = plan.size[0] * CG * plan.size[1]
    pixels, gradients, results = ring.reshape(-1), dy.reshape(-1), dweight.reshape(-1)
    # What does not fill a vector is laid beside zeros. Rows and taps beyond the last compute in vain, on the last.
    d_tails, x_tails, places = (
        np.empty(OG * lanes, x.dtype),
        np.empty(KP * lanes, x.dtype),
        np.empty(KP, np.intp),
    )
    lines, ends, taps = np.empty(OP, np.intp), np.empty(OP, np.intp), np.empty(KP, np.intp)
    filters = np.arange(OG) * Q
    for o in range(OP):
        lines[o], ends[o] = min(o, OG - 1) * Q, min(o, OG - 1) * lanes
    for k in range(KP):
        places[k] = k * lanes
    for first in range(0, Q // max(plan.N, 1), plan.columns):
        begin, end, done = first * plan.N, min((first + plan.columns) * plan.N, Q), 0
        whole = begin + (end - begin) // lanes * lanes
        for s in range(share[0], share[1]):
            for oh in range(bounds[s], bounds[s + 1]):
                done = fill_ring(ring, done, oh, x, first, plan)
                low, high = find_taps(taps, ring, oh, H, CG, plan)
                taps[K:] = taps[K - 1]
                for group in range(G):
                    row, of_x, to = (oh * O + group * OG) * Q, group * CG * line, (s * G + group) * OP * KP
                    for left in range(begin, whole, PIECE):
                        count = min(PIECE, whole - left) // lanes
                        for o in range(tiles[0] * P, tiles[1] * P, P):
                            for k in range(low // V * V, high, V):
                                add_products(
                                    tall, wide, gradients, row + left, lines, o,
                                    pixels, of_x + left - begin, taps, k, count, results, to + o * KP + k, KP,
                                )  # fmt: skip
                    if whole < end:
                        copy_tails(gradients[row + whole :], d_tails, filters, end - whole, lanes)
                        copy_tails(pixels[of_x + whole - begin :], x_tails, taps, end - whole, lanes)
                        for o in range(tiles[0] * P, tiles[1] * P, P):
                            for k in range(low // V * V, high, V):
                                add_products(
                                    tall, wide, d_tails, 0, ends, o,
                                    x_tails, 0, places, k, 1, results, to + o * KP + k, KP,
                                )  # fmt: skip
                    for o in range(group * OG + tiles[0] * P, group * OG + min(tiles[1] * P, OG)):
                        numbers, total = dy[oh, o, begin:end], 0.0
                        for q in range(end - begin):
                            total += numbers[q]
                        dbias[s, o] += total


@compiled
def copy_tails(source: Any, tails: Any, places: Any, columns: int, lanes: int) -> None:
    """Copy `columns` numbers from every place in `source`, each beside zeros up to a whole vector.

    Zeros on both sides of a product, for zero times infinity is NaN.
    """
    for i in range(len(places)):
        for n in range(lanes):
            tails[i * lanes + n] = source[places[i] + n] if n < columns else 0
