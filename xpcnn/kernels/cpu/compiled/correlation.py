"""The two sums of convolution over the ring of rows: of taps for y, of products for dW. See `rows` for the ring.

    y of one output row and one group           a tile: P filters x V vectors, in registers (`tiles`)

                   one panel of PIECE numbers    the next panel
        filter 0  | tile | tile | tile | edge | tile | ...       = bias + sum over taps k of
        filter P  | tile | tile | tile | edge | tile | ...         weight[k, filter] * ring[taps[k] + number]
        ...

Taps are added TAPS at a time, so that the pixels that they read are still in the first cache for the next filters.
What is left of a row beside whole tiles is computed in a buffer, `edge`, of which a part is copied.

    dW of one group                             a tile: P filters x V taps, in registers

                    taps k = (i, c, j)
        filter 0  | tile | tile | ...            += sum over the numbers q of an output row of
        filter P  | tile | tile | ...               dy[filter, q] * ring[taps[k] + q]

The sum goes along whole vectors of dy and of the ring; the last numbers of a row that fill no vector are copied to
buffers, with zeros beside them.
"""

from typing import Any

import numpy as np

from xpcnn.kernels.cpu.compiled.compiler import compiled, inlined
from xpcnn.kernels.cpu.compiled.rows import fill_ring, find_taps
from xpcnn.kernels.cpu.compiled.tiles import REGISTER_BYTES, add_products, sum_of_taps

TAPS = 96
"""Taps at a time. With all 576 of 64 channels at once the speed was two thirds."""

PIECE = 960
"""Numbers of an output row at a time, a multiple of all tiles' widths: their pixels stay in the second cache."""


@compiled
def correlate(
    x: Any, panels: Any, bias: Any, y: Any, plan: Any, unroll_p: Any, unroll_v: Any, start: int, stop: int, ring: Any
) -> None:  # fmt: skip
    """Write output rows from `start` to `stop` of y: as many columns as the ring holds at a time, row by row.

    x is (H,C,W*N), panels (G,T,KH*C/G*KW,P) with T tiles of P filters a group, bias (G,T,P), y (OH,O,OW*N). `unroll_p`
    and `unroll_v` are tuples of P and V zeros, see `tiles`.
    """
    (H, C, _), (_, O, Q), (G, T, K, P) = x.shape, y.shape, panels.shape
    flat = ring.reshape(-1), panels.reshape(-1), bias.reshape(-1), y.reshape(-1)
    shape = T, K, P, O // G
    width = len(unroll_v) * (REGISTER_BYTES // x.itemsize)
    edge, taps = np.empty(P * width, x.dtype), np.empty(K, np.intp)
    for first in range(0, Q // max(plan.N, 1), plan.columns):
        begin, end, done = first * plan.N, min((first + plan.columns) * plan.N, Q), 0
        for oh in range(start, stop):
            done = fill_ring(ring, done, oh, x, first, plan)
            low, high = find_taps(taps, ring, oh, H, C // G, plan)
            blocks = max(1, -(-(high - low) // TAPS))
            for group in range(G):
                at, to = group * (C // G) * ring.shape[2] - begin, (oh * O + group * (O // G)) * Q
                for left in range(begin, end, PIECE):
                    for block in range(blocks):
                        k = low + (high - low) * block // blocks
                        count = low + (high - low) * (block + 1) // blocks - k
                        correlate_panel(
                            unroll_p, unroll_v, flat, shape, group, at, to, Q, taps, k, count, block > 0,
                            left, min(left + PIECE, end), edge,
                        )  # fmt: skip


@inlined
def correlate_panel(
    unroll_p: Any, unroll_v: Any, flat: Any, shape: Any, group: int, at: int, to: int, Q: int, taps: Any, k: int,
    count: int, add: bool, left: int, right: int, edge: Any,
) -> None:  # fmt: skip
    """Write, or add to, numbers `left` to `right` of one output row: all filters of a group, tile by tile.

    Number q of the row reads ring[at + q + taps[k]], for `count` taps from k on, and is y[to + q].
    """
    (pixels, weights, biases, results), (T, K, P, OG) = flat, shape
    width = len(edge) // P
    for t in range(T):
        tile, rows, target = group * T + t, min(P, OG - t * P), to + t * P * Q
        for q in range(left, right, width):
            whole, columns = rows == P and q + width <= right, min(width, right - q)
            if not whole and add:
                copy(results[target + q :], Q, edge, width, rows, columns)
            sum_of_taps(
                unroll_p, unroll_v, pixels, at + q, taps, k, count, weights, (tile * K + k) * P, biases, tile * P, add,
                results if whole else edge, target + q if whole else 0, Q if whole else width,
            )  # fmt: skip
            if not whole:
                copy(edge, width, results[target + q :], Q, rows, columns)


@compiled
def copy(source: Any, from_line: int, target: Any, to_line: int, rows: int, columns: int) -> None:
    """Copy a rectangle; its rows begin every `from_line` numbers in source and every `to_line` in target."""
    for p in range(rows):
        for n in range(columns):
            target[p * to_line + n] = source[p * from_line + n]


@compiled
def weight_gradient(
    dy: Any, x: Any, dweight: Any, dbias: Any, plan: Any, unroll_p: Any, unroll_v: Any, bounds: Any, share: Any,
    tiles: Any, ring: Any,
) -> None:  # fmt: skip
    """Write the sums of the shares of dy's rows from share[0] to share[1], for the tiles from tiles[0] to tiles[1].

    dy is (OH,O,OW*N), x (H,C,W*N); share s of S has rows from bounds[s] to bounds[s + 1]. Of zeros, dbias is (S,O), and
    dweight (S,G,O/G,KH*C/G*KW), its last two axes rounded up to whole tiles. A tile has P filters of each group.
    dbias is in double precision.
    """
    (_, O, Q), (H, C, _), (_, G, OP, KP) = dy.shape, x.shape, dweight.shape
    P, lanes = len(unroll_p), REGISTER_BYTES // x.itemsize
    CG, OG = C // G, O // G
    K = plan.size[0] * CG * plan.size[1]
    flat = dy.reshape(-1), ring.reshape(-1), dweight.reshape(-1)
    # a tile's filters and taps beyond the last repeat the last one; their sums are not used
    lines, taps = np.minimum(np.arange(OP), OG - 1) * Q, np.empty(KP, np.intp)
    tails = np.empty(OG * lanes, x.dtype), np.empty(KP * lanes, x.dtype)
    tail_lines, tail_taps = np.minimum(np.arange(OP), OG - 1) * lanes, np.arange(KP) * lanes
    at_tails = lines[:OG], tail_lines, tail_taps
    filters = tiles[0] * P, tiles[1] * P
    for first in range(0, Q // max(plan.N, 1), plan.columns):
        begin, end, done = first * plan.N, min((first + plan.columns) * plan.N, Q), 0
        for s in range(share[0], share[1]):
            for oh in range(bounds[s], bounds[s + 1]):
                done = fill_ring(ring, done, oh, x, first, plan)
                inside = find_taps(taps, ring, oh, H, CG, plan)
                taps[K:] = taps[K - 1]
                for group in range(G):
                    row, of_ring = (oh * O + group * OG) * Q + begin, group * CG * ring.shape[2]
                    gradient_of_row(
                        unroll_p, unroll_v, flat, row, of_ring, (s * G + group) * OP * KP, KP, lines, taps, filters,
                        inside, end - begin, tails, at_tails,
                    )  # fmt: skip
                    for o in range(group * OG + filters[0], group * OG + min(filters[1], OG)):
                        dbias[s, o] += sum_of(dy[oh, o, begin:end])


@inlined
def gradient_of_row(
    unroll_p: Any, unroll_v: Any, flat: Any, row: int, of_ring: int, to: int, KP: int, lines: Any, taps: Any,
    filters: Any, inside: Any, length: int, tails: Any, at_tails: Any,
) -> None:  # fmt: skip
    """Add the products of `length` numbers of one output row in one group: panels of whole vectors, then the tail.

    Filter o of the group has its numbers at dy[row + lines[o]], and tap k its at ring[of_ring + taps[k]].
    """
    (gradients, pixels, results), (d_tails, x_tails), (d_lines, tail_lines, tail_taps) = flat, tails, at_tails
    lanes = len(d_tails) // len(d_lines)
    whole = length // lanes * lanes
    for left in range(0, whole, PIECE):
        count = min(PIECE, whole - left) // lanes
        add_tiles(
            unroll_p, unroll_v, gradients, row + left, lines, pixels, of_ring + left, taps, filters, inside, count,
            results, to, KP,
        )  # fmt: skip
    if whole < length:
        copy_tails(gradients[row + whole :], d_tails, d_lines, length - whole, lanes)
        copy_tails(pixels[of_ring + whole :], x_tails, taps, length - whole, lanes)
        add_tiles(
            unroll_p,
            unroll_v,
            d_tails,
            0,
            tail_lines,
            x_tails,
            0,
            tail_taps,
            filters,
            inside,
            1,
            results,
            to,
            KP,
        )


@inlined
def add_tiles(
    unroll_p: Any, unroll_v: Any, gradients: Any, row: int, lines: Any, pixels: Any, of_ring: int, taps: Any,
    filters: Any, inside: Any, count: int, results: Any, to: int, KP: int,
) -> None:  # fmt: skip
    """Add the products of `count` vectors to each tile of dW with one of the filters and a tap inside the image."""
    P, V, (low, high) = len(unroll_p), len(unroll_v), inside
    for o in range(filters[0], filters[1], P):
        for k in range(low // V * V, high, V):
            add_products(
                unroll_p, unroll_v, gradients, row, lines, o, pixels, of_ring, taps, k, count, results,
                to + o * KP + k, KP,
            )  # fmt: skip


@compiled
def copy_tails(source: Any, tails: Any, places: Any, columns: int, lanes: int) -> None:
    """Copy `columns` numbers from every place in `source`, each with zeros beside them up to a whole vector.

    Zeros on both sides of a product, for zero times infinity is NaN.
    """
    for i in range(len(places)):
        for n in range(lanes):
            tails[i * lanes + n] = source[places[i] + n] if n < columns else 0


@inlined
def sum_of(numbers: Any) -> float:
    """Add up numbers in double precision."""
    total = 0.0
    for q in range(len(numbers)):
        total += numbers[q]
    return total
