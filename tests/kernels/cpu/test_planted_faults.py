"""Wrong indices, planted into the kernels' own texts: a small case of the op must turn red for each of them.

The package `xpcnn.kernels.cpu` is copied with the fault in it and imported under another name. Of the compiled kernels
the copy runs as Python, so that nothing is compiled: `compiled` returns the function as it is, and the two intrinsics
of `tiles` are written in NumPy here. What `tiles` itself writes is compiled, at the end.

A fault whose text no longer occurs fails: move it to where the text went.
"""

import importlib
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from fuzzing import Case, Integers, Reals, Window, check

from xpcnn.kernels import cpu, registry
from xpcnn.kernels.cpu import threads

FOLDER = Path(cpu.__file__).parent
NAME = "planted_cpu"

AS_PYTHON = {
    "compiled/compiler.py": """

def compiled(function):
    return function


inlined = compiled
""",
    "compiled/tiles.py": """

def sum_of_taps(unroll_p, unroll_v, x, at, taps, k, count, weight, first, bias, o, add, y, to, line):
    P, width = len(unroll_p), len(unroll_v) * (REGISTER_BYTES // x.itemsize)
    for p in range(P):
        row = y[to + p * line : to + p * line + width]
        assert len(row) == width
        total = row if add else bias[o + p]
        for n in range(count):
            total = total + weight[first + n * P + p] * x[at + taps[k + n] :][:width]
        row[:] = total


def add_products(unroll_p, unroll_v, dy, d_at, rows, o, x, at, taps, k, count, dweight, to, line):
    length = count * (REGISTER_BYTES // x.itemsize)
    for p in range(len(unroll_p)):
        for v in range(len(unroll_v)):
            d, pixels = dy[d_at + rows[o + p] :][:length], x[at + taps[k + v] :][:length]
            dweight[to + p * line + v] += (d * pixels).sum()
""",
}

# ---------------------------------------------------------------- small cases, which a wrong index turns red


def convolution(op, N, C, size, O, window, groups=1, of="integers", **known):
    x, weight = Reals((N, groups * C, *size), of), Reals((groups * O, C, *window.size), of)
    if op == "conv":
        return Case(op, (x, weight, Reals((groups * O,), of), window, groups), "float64", **known)
    dy = Reals((N, groups * O, *window.output_size(*size)), of)
    return Case(op, (dy, x, weight, window, groups), "float64", **known)


def convolutions(op):
    """Few channels and many; strides, dilations, groups; rows of several panels, taps of several blocks, and tails."""
    several = {"threads": 3, "workspace": 1 << 14}
    yield convolution(op, 3, 3, (7, 8), 5, Window((3, 2), (2, 3), ((0, 2), (1, 0)), (1, 2)), **several)
    yield convolution(op, 2, 2, (9, 8), 4, Window((3, 2), 1, ((1, 0), (2, 1)), (2, 3)))
    yield convolution(op, 2, 3, (5, 9), 4, Window((2, 3), 1, 0, (1, 2)))
    yield convolution(op, 2, 2, (9, 8), 4, Window((3, 2), 2, 1, (2, 1)))
    yield convolution(op, 2, 2, (6, 7), 3, Window(3, 2, 1), groups=3, **several)
    yield convolution(op, 7, 1, (6, 17), 7, Window((2, 3), 1, (0, 1)), workspace=1)
    yield convolution(op, 3, 8, (7, 6), 9, Window(3, 1, 1), **several)
    for workspace in (1, 1 << 22):
        yield convolution(op, 3, 8, (7, 6), 9, Window((3, 2), (2, 1), ((1, 1), (1, 0))), workspace=workspace)
    yield convolution(op, 2, 9, (3, 9), 4, Window((1, 3), 1, (0, 2), (1, 2)), threads=2, workspace=1 << 13)
    yield convolution(op, 2, 8, (2, 3), 4, Window((3, 2), 1, ((7, 5), (0, 1))))
    yield convolution(op, 3, 40, (4, 5), 5, Window(1, 2))
    yield convolution(op, 3, 4, (4, 5), 5, Window(1))
    yield convolution(op, 9, 14, (4, 4), 5, Window(3, 1, 1))
    yield convolution(op, 40, 1, (3, 27), 4, Window((2, 3)))


def pooling(op, N, C, size, window, *more, **known):
    if op in ("max_pool", "average_pool"):
        return Case(op, (Reals((N, C, *size), "normal"), window, *more), "float64", **known)
    y, pixels = (N, C, *window.output_size(*size)), window.size[0] * window.size[1]
    return Case(op, (Reals(y), Integers(y, pixels, "uint8"), size, window), "float64", **known)


def pools(op):
    for window, size in (
        (Window(2, 2), (6, 8)),
        (Window(2, 2), (7, 9)),
        (Window(2, 2, 1), (6, 8)),
        (Window((3, 2), (1, 3), ((0, 2), (1, 0))), (5, 6)),
        (Window(3, 2, 1, rounding="ceil"), (6, 8)),
        (Window((2, 2), (3, 4), 0, (2, 3)), (8, 9)),
        (Window((2, 3), 1, (1, 2), (3, 2)), (7, 8)),
    ):
        yield pooling(op, 3, 2, size, window, threads=3)
        if op == "average_pool":
            yield pooling(op, 3, 2, size, window, True)


def of_channels(op, *arguments, shape=(3, 4, 5, 6)):
    x, channels, positive = Reals(shape), Reals(shape[1:2]), Reals(shape[1:2], "positive")
    named = {"x": x, "channels": channels, "positive": positive}
    return Case(
        op, tuple(named.get(a, a) if isinstance(a, str) else a for a in arguments), "float64", threads=3
    )


def flat(op, *more, arrays=3):
    made = [Reals((5000,), state=number > 1) for number in range(arrays)]
    made[3:] = [Reals((5000,), "positive", state=True)] * (arrays - 3)
    return Case(op, (*made, *more), "float64", threads=3)


def dense(op, M, I, O):
    x, weight, dy = Reals((M, I), "integers"), Reals((O, I), "integers"), Reals((M, O), "integers")
    if op == "affine":
        return Case(op, (x, weight, Reals((O,), "integers")), "float64", threads=2)
    return Case(op, (dy, x, weight), "float64", threads=2)


CASES = {
    "conv": list(convolutions("conv")),
    "conv_backward": list(convolutions("conv_backward")),
    "max_pool": list(pools("max_pool")),
    "max_pool_backward": list(pools("max_pool_backward")),
    "average_pool": list(pools("average_pool")),
    "affine": [dense("affine", 4, 30, 900), dense("affine", 900, 30, 4)],
    "affine_backward": [dense("affine_backward", 4, 30, 900), dense("affine_backward", 900, 30, 4)],
    "flatten": [Case("flatten", (Reals((3, 4, 5, 6), order="rows"),))],
    "relu": [Case("relu", (Reals((3, 4, 50, 60), order="rows"),), threads=3)],
    "relu_backward": [Case("relu_backward", (Reals((3, 4, 50, 60)), Reals((3, 4, 50, 60))), threads=3)],
    "momentum_update": [flat("momentum_update", 0.1, 0.9)],
    "adam_update": [flat("adam_update", 0.1, (0.9, 0.999), 1e-8, 3, arrays=4)],
    "batch_statistics": [of_channels("batch_statistics", "x")],
    "batch_norm": [of_channels("batch_norm", "x", "channels", "channels", "channels", "positive", 1e-5)],
    "batch_norm_backward": [
        of_channels("batch_norm_backward", "x", "x", "channels", "channels", "positive", 1e-5, of_batch)
        for of_batch in (True, False)
    ],
}


# ---------------------------------------------------------------- the faults


class Fault(NamedTuple):
    """In a file of the package `old` becomes `new`; then a case of `op` must fail for the kernels of `kind`."""

    kind: str
    file: str
    old: str
    new: str
    op: str


def faults(kind, file, *lines):
    return [Fault(kind, file, *line) for line in lines]


FAULTS = [
    *faults(
        "plain", "layout.py",
        ("offset = first * C * line", "offset = first * line", "conv"),
        ("columns.start * N * rows.itemsize", "columns.start * rows.itemsize", "conv"),
        ("(step * C * line, line,", "(C * line, line,", "conv"),
        ("shape = count, height * C,", "shape = count, height,", "conv"),
        ("return rows.transpose(3, 1, 0, 2)", "return rows[::-1].transpose(3, 1, 0, 2)", "max_pool"),
        ("array.reshape(-1) for array in ordered", "array.reshape(-1) for array in arrays", "relu"),
    ),
    *faults(
        "plain", "shares.py",
        ("length * (i + 1) // number", "length * (i + 1) // number - (i == 1)", "conv_backward"),
        ("slice(length * i // number,", "slice(length * i // number + (i > 0),", "affine"),
        ("for other in others:", "for other in others[1:]:", "conv_backward"),
    ),
    *faults(
        "plain", "taps.py",
        ("start = min(max(-(-(0 - first) // step), 0), count)",
         "start = min(max((0 - first) // step, 0), count)", "conv"),
        ("stop = max(min(-(-(length - first) // step)", "stop = max(min((length - first) // step", "conv"),
        ("low = first + start * step", "low = first + start", "conv"),
        ("(stop - start - 1) * step + 1", "(stop - start - 1) * step", "conv"),
        ("first + j * DW", "first + j", "conv"),
        ("slice(windows.stop, Q)", "slice(windows.stop, Q - 1)", "conv"),
    ),
    *faults(
        "plain", "workspace.py",
        ("min(i + length, whole.stop)", "min(i + length - 1, whole.stop)", "conv"),
        ("range(whole.start, whole.stop, length)", "range(0, whole.stop, length)", "conv_backward"),
    ),
    *faults(
        "plain", "conv.py",
        ("weight[:, :, ::-1, ::-1]", "weight[:, :, ::-1]", "conv_backward"),
        ("extent - 1 - begin", "extent - begin", "conv_backward"),
        (".reshape(groups, O // groups, C, KH, KW).swapaxes(1, 2)", ".reshape(groups, C, O // groups, KH, KW)",
         "conv_backward"),
        ("partial(write, rows.start, rows.stop)", "partial(write, rows.start, rows.stop - 1)", "conv_backward"),
    ),
    *faults(
        "plain", "col2im.py",
        ("rows.start * SH + i * DH - top", "rows.start * SH + i - top", "conv_backward"),
        ("rows.start * SH + i * DH - top", "rows.start + i * DH - top", "conv_backward"),
        ("columns.start * SW - left", "columns.start - left", "conv_backward"),
        ("columns.start * SW - left", "columns.start * SW", "conv_backward"),
        ("products[:, window_rows, i, :, j, tap.windows]", "products[:, window_rows, i, :, -1 - j, tap.windows]",
         "conv_backward"),
        ("[:, :, channels]  # (H, G, c, W, N)", "[:, ::-1, channels]  # (H, G, c, W, N)", "conv_backward"),
    ),
    *faults(
        "plain", "plain/conv.py",
        ("y[rows, :, columns], groups)  # (R, G, O/G, Q*N)", "y[rows][::-1, :, columns], groups)", "conv"),
        ("bias.reshape(groups, O // groups, 1)", "bias[::-1].reshape(groups, O // groups, 1)", "conv"),
        ("dy[share].reshape(R", "dy[:R].reshape(R", "conv_backward"),
        (".transpose(0, 4, 2, 1, 3)", "[..., ::-1].transpose(0, 4, 2, 1, 3)", "conv_backward"),
        ("d = by_groups(dy[rows, :, columns]", "d = by_groups(dy[rows, :, : columns.stop - columns.start]",
         "conv_backward"),
    ),
    *faults(
        "plain", "plain/unrolling.py",
        ("rows.start * SH - top, KH", "rows.start - top, KH", "conv"),
        ("rows.start * SH - top, KH", "rows.start * SH, KH", "conv"),
        ("(R - 1) * SH + KH", "(R - 1) + KH", "conv"),
        ("(length * row, SH * row, line,", "(length * row, row, line,", "conv"),
        ("columns.start * SW - left", "columns.start - left", "conv"),
        ("DW * pixel, SW * pixel", "pixel, SW * pixel", "conv"),
        ("copy[:, :, :, j, gap] = 0", "pass", "conv"),
        ("copy[:, padding] = 0", "pass", "conv"),
        ("step = 1 if KH == 1 else DH", "step = 1", "conv"),
        ("a[..., rows, :, :] @ b", "a[..., : rows.stop - rows.start, :, :] @ b", "conv_backward"),
    ),
    *faults(
        "plain", "plain/shifting.py",
        ("run.start * SH - top + inside.start", "run.start * SH - top", "conv"),
        ("run.start * SH - top + inside.start", "run.start - top + inside.start", "conv"),
        ("filters[:, inside.start * C : inside.stop * C]", "filters[:, : (inside.stop - inside.start) * C]", "conv"),
        ("-left - columns.start, OW", "-left, OW", "conv"),
        ("products[run.start - rows.start :]", "products[0:]", "conv"),
        ("first = rows.start * SH - top + inside.start", "first = rows.start * SH - top", "conv_backward"),
        ("of_tap[inside.start * C : inside.stop * C]", "of_tap[: (inside.stop - inside.start) * C]", "conv_backward"),
        ("(H - KH + top) // SH + 1", "(H - KH + top) // SH + 2", "conv"),
        ("min(KH, H - first)", "KH", "conv"),
        ("if columns.start == 0 else None", "", "conv"),
    ),
    *faults(
        "plain", "plain/pooling.py",
        ("padded[top : top + H, :, left : left + W] = x", "padded[:H, :, :W] = x", "max_pool"),
        ("padded[rows, :, columns][start:stop]\n            if tap == 0", "padded[rows, :, columns][: stop - start]\n"
         "            if tap == 0", "max_pool"),
        ("winner.dtype.type(tap)", "winner.dtype.type(tap - 1)", "max_pool"),
        ("padded[rows, :, columns][start:stop]\n            if disjoint", "padded[rows, :, columns][: stop - start]\n"
         "            if disjoint", "max_pool_backward"),
        ("as_images(padded[top : top + H, :, left : left + W])", "as_images(padded[:H, :, :W])", "max_pool_backward"),
        ("disjoint = window.stride[0] >= EH", "disjoint = window.stride[0] >= 1", "max_pool_backward"),
        ("(SH, 1), 0, (DH, 1)", "(SH, 1), 0, (1, 1)", "average_pool"),
        ("(1, SW), 0, (1, DW)", "(1, 1), 0, (1, DW)", "average_pool"),
        ("top - above : top + image_size[0] + below", "top : top + image_size[0] + below", "average_pool"),
    ),
    *faults(
        "plain", "plain/affine.py",
        ("out=out[rows]", "out=out[: rows.stop - rows.start]", "affine"),
        ("b[:, columns], out", "b[:, : columns.stop - columns.start], out", "affine_backward"),
        ("x.transpose(1, 2, 3, 0)", "x.transpose(2, 1, 3, 0)", "flatten"),
    ),
    *faults(
        "plain", "plain/elementwise.py",
        ("min(first + PIECE, stop)", "min(first + PIECE, stop) - 1", "relu"),
        ("range(start, stop, PIECE)", "range(0, stop, PIECE)", "momentum_update"),
        ("range(start, stop, PIECE)", "range(start + 1, stop, PIECE)", "adam_update"),
        ("range(start, stop, PIECE)", "range(start + 1, stop, PIECE)", "relu_backward"),
    ),
    *faults(
        "plain", "plain/normalization.py",
        ("of_rows[h] = term", "of_rows[h - 1] = term[::-1]", "batch_statistics"),
        ("centered = rows[h] - _column(mean)\n        centered *= drows",
         "centered = rows[0] - _column(mean)\n"
         "        centered *= drows", "batch_norm_backward"),
        ("np.subtract(rows[h], _column(mean), out=y[h])",
         "np.subtract(rows[h - 1], _column(mean), out=y[h])", "batch_norm"),
        ("np.multiply(drows[h], _column(scale)", "np.multiply(drows[h], _column(scale[::-1])", "batch_norm_backward"),
    ),
    *faults(
        "compiled", "compiled/rows.py",
        ("(remainders.index(r) * length + j * DW // SW) * N", "(remainders.index(r) * length + j // SW) * N", "conv"),
        ("(remainders.index(r) * length + j * DW // SW) * N", "(r * length + j * DW // SW) * N", "conv"),
        ("halo = sorted(set(by_tap)), (KW - 1) * DW // SW", "halo = sorted(set(by_tap)), KW - 1", "conv"),
        ("slots = (plan.size[0] - 1) * plan.dilation[0] + 1", "slots = plan.size[0]", "conv"),
        ("row % len(ring), row - top", "row % len(ring), row", "conv"),
        ("row % len(ring), row - top", "(row + 1) % len(ring), row - top", "conv"),
        ("(first + p) * SW + remainder - left", "(first + p) * SW + remainder", "conv"),
        ("(first + p) * SW + remainder - left", "first + p * SW + remainder - left", "conv"),
        ("0 <= column * N < WN", "0 <= column * N <= WN - 2 * N", "conv"),
        ("start = oh * plan.stride[0]", "start = oh", "conv"),
        ("range(max(done, start), stop)", "range(max(done, start) + 1, stop)", "conv"),
        ("row = oh * SH + i * DH", "row = oh * SH + i", "conv"),
        ("if row < top:", "if row <= top:", "conv_backward"),
        ("if row - top < H:", "if row - top < H - 1:", "conv"),
        ("taps[k] = (slot + c) * line", "taps[k] = slot * line", "conv"),
    ),
    *faults(
        "compiled", "compiled/correlation.py",
        ("plan.columns) * plan.N, Q), 0\n        for oh", "plan.columns - 1) * plan.N, Q), 0\n        for oh", "conv"),
        ("group * (C // G) * ring.shape[2] - begin", "group * ring.shape[2] - begin", "conv"),
        ("group * (C // G) * ring.shape[2] - begin", "group * (C // G) * ring.shape[2]", "conv"),
        ("(oh * O + group * (O // G)) * Q", "(oh * O + group) * Q", "conv"),
        ("left, min(left + PIECE, end), edge", "left, min(left + PIECE - 1, end), edge", "conv"),
        ("k = low + (high - low) * block // blocks", "k = low + (high - low) * block // blocks + block", "conv"),
        ("min(P, OG - t * P)", "P", "conv"),
        ("to + t * P * Q", "to + t * P", "conv"),
        ("(tile * K + k) * P", "tile * K * P", "conv"),
        ("(tile * K + k) * P", "(t * K + k) * P", "conv"),
        ("biases, tile * P, add", "biases, t * P, add", "conv"),
        ("Q if whole else width", "Q", "conv"),
        ("target[p * to_line + n] = source[p * from_line + n]",
         "target[p * to_line + n] = source[p * to_line + n]", "conv"),
        ("copy(results[target + q :], Q, edge,", "copy(results[target:], Q, edge,", "conv"),
        ("(oh * O + group * OG) * Q + begin", "(oh * O + group * OG) * Q", "conv_backward"),
        ("group * CG * ring.shape[2]", "group * ring.shape[2]", "conv_backward"),
        ("(s * G + group) * OP * KP", "(s + group) * OP * KP", "conv_backward"),
        ("range(bounds[s], bounds[s + 1])", "range(bounds[s], bounds[s + 1] - 1)", "conv_backward"),
        ("row + left, lines, pixels, of_ring + left", "row + left, lines, pixels, of_ring", "conv_backward"),
        ("gradients[row + whole :], d_tails", "gradients[row:], d_tails", "conv_backward"),
        ("d_lines, length - whole, lanes", "d_lines, length - whole - 1, lanes", "conv_backward"),
        ("source[places[i] + n] if n < columns else 0", "source[places[i] + n]", "conv_backward"),
        ("to + o * KP + k, KP", "to + o + k, KP", "conv_backward"),
        ("range(low // V * V, high, V)", "range(low, high - V + 1, V)", "conv_backward"),
        ("sum_of(dy[oh, o, begin:end])", "sum_of(dy[oh, o - 1, begin:end])", "conv_backward"),
    ),
    *faults(
        "compiled", "compiled/conv.py",
        ("weight.swapaxes(1, 2).reshape(groups, O", "weight.reshape(groups, O", "conv"),
        ("by_rows.swapaxes(1, 2)", "by_rows.reshape(O, CG, KH, KW)", "conv_backward"),
        ("tiles[:, :O] = array", "tiles[:, -O:] = array", "conv"),
        ("(tiles.start, tiles.stop)", "(tiles.start, tiles.stop - 1)", "conv_backward"),
        ("-(-number // multiple) * multiple", "number // multiple * multiple", "conv"),
    ),
    *faults(
        "compiled", "compiled/pooling.py",
        ("row, left = oh * stride[0] - pad[0], pad[1]\n            _largest",
         "row, left = oh - pad[0], pad[1]\n            _largest",
         "max_pool"),
        ("winner[ow], ow * stride[1] - left\n        inside",
         "winner[ow], ow * stride[0] - left\n        inside", "max_pool"),
        ("row + DH < H and column + DW < W", "row < H and column + DW < W", "max_pool"),
        ("x[row + DH, c, column], x[row + DH, c, column + DW]", "x[row + DH, c, column], x[row + 1, c, column + 1]",
         "max_pool"),
        ("h, w = row + i * DH, column + j * DW\n                if 0",
         "h, w = row + i, column + j * DW\n                if 0",
         "max_pool"),
        ("if 0 <= h < H and 0 <= w < W", "if h < H and w < W", "max_pool"),
        ("pixels, tap = x[h, c, w], number(i * KW + j)", "pixels, tap = x[h, c, w], number(i * KH + j)", "max_pool"),
        ("oh * stride[0] - pad[0], pad[1]\n            _dist",
         "oh * stride[0], pad[1]\n            _dist", "max_pool_backward"),
        ("row + i * DH, column + j * DW\n                if not", "row + i * DH, column + j\n                if not",
         "max_pool_backward"),
        ("dx[h, c, w], number(i * KW + j)", "dx[h, c, w], number(j * KW + i)", "max_pool_backward"),
    ),
    *faults(
        "compiled", "compiled/elementwise.py",
        ("array[start * PIECE : min(stop * PIECE, length)]", "array[start * PIECE : stop * PIECE - 1]", "relu"),
        ("-(-length // PIECE)", "length // PIECE", "relu_backward"),
        ("-(-length // PIECE)", "length // PIECE", "momentum_update"),
        ("mean[i], squares[i] = m, v", "mean[i], squares[i - 1] = m, v", "adam_update"),
    ),
    *faults(
        "compiled", "compiled/normalization.py",
        ("means[h, c], variances[h, c]", "means[h, c], variances[h, c - 1]", "batch_statistics"),
        ("m, s, b = mean[c], scale[c], bias[c]", "m, s, b = mean[c], scale[h % C], bias[c]", "batch_norm"),
        ("(x[h, c, q] - mean[c])\n            of_dy",
         "(x[h, c, q] - mean[0])\n            of_dy", "batch_norm_backward"),
        ("dx[h, c, q] = f * dy[h, c, q]", "dx[h, c, q] = f * dy[h, c, q - 1]", "batch_norm_backward"),
    ),
]  # fmt: skip


# ---------------------------------------------------------------- planting


def substitutes_of_copy(monkeypatch, tmp_path, kind, fault=None):
    """Return the substitutes of a kind from a copy of the package that has the fault."""
    package = tmp_path / NAME
    shutil.copytree(FOLDER, package, ignore=shutil.ignore_patterns("__pycache__", "threads.py"))
    for file in package.rglob("*.py"):
        name, text = file.relative_to(package).as_posix(), file.read_text(encoding="utf-8")
        if fault and name == fault.file:
            assert text.count(fault.old) == 1, (
                f"{name} has {fault.old!r} {text.count(fault.old)} times: move the fault to where it went"
            )
            text = text.replace(fault.old, fault.new)
        file.write_text(text.replace("xpcnn.kernels.cpu", NAME) + AS_PYTHON.get(name, ""), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_SUBSTITUTES", {})
    monkeypatch.setitem(
        sys.modules, f"{NAME}.threads", threads
    )  # the worker threads are those of the package
    monkeypatch.setattr(importlib.import_module(NAME), "threads", threads, raising=False)
    try:
        return importlib.import_module(f"{NAME}.{kind}").SUBSTITUTES
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
            del sys.modules[name]


def run(monkeypatch, found, op):
    monkeypatch.setattr("fuzzing.comparison.substitutes", lambda kind: found)
    for case in CASES[op]:
        check(case, "pure")


@pytest.mark.parametrize("kind", ["plain", "compiled"])
def test_green_without_a_fault(monkeypatch, tmp_path, kind):
    if kind == "compiled":
        pytest.importorskip("numba")
    found = substitutes_of_copy(monkeypatch, tmp_path, kind)
    assert found.keys() == registry_keys(kind)
    for op in found:
        run(monkeypatch, found, op)


def registry_keys(kind):
    return {fault.op for fault in FAULTS if fault.kind == kind}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.file}-{fault.op}: {fault.new[-40:]!r}")
def test_a_planted_fault_turns_a_case_red(monkeypatch, tmp_path, fault):
    if fault.kind == "compiled":
        pytest.importorskip("numba")
    found = substitutes_of_copy(monkeypatch, tmp_path, fault.kind, fault)
    with pytest.raises((AssertionError, IndexError, ValueError)):
        run(monkeypatch, found, fault.op)


# ---------------------------------------------------------------- the intrinsics, compiled


TILES = [
    ("rows = [code.gep(results, builder.add(to, builder.mul(line",
     "rows = [code.gep(results, builder.add(to, builder.mul(to"),
    ("code.gep(pixels, at), code.gep(offsets, k)", "code.gep(pixels, at), offsets"),
    ("code.gep(offsets, k), code.gep(factors, first)", "code.gep(offsets, k), factors"),
    ("builder.mul(loop.index, code.integer(P))", "loop.index"),
    ("biases, sums = code.gep(biases, o)", "biases, sums = biases"),
    ("self.integer(v * self.lanes)", "self.integer(v)"),
    ("for at in (0, half))", "for at in (0, 0))"),
    ("code.gep(gradients[p], q)", "code.gep(gradients[0], q)"),
    ("code.load(offsets, v)", "code.load(offsets, 0)"),
    ("builder.mul(loop.index, code.integer(code.lanes))", "loop.index"),
]  # fmt: skip


def run_tiles(old="", new=""):
    """Hold the two intrinsics against what is written of them in NumPy above."""
    numba = pytest.importorskip("numba")
    text = (FOLDER / "compiled/tiles.py").read_text(encoding="utf-8")
    assert text.count(old) == 1 or not old, (
        f"tiles.py no longer has {old!r} once: move the fault to where it went"
    )
    written, expected = {"__name__": "planted_tiles"}, {}
    exec(compile(text.replace(old, new) if old else text, "planted_tiles", "exec"), written)
    expected["REGISTER_BYTES"] = written["REGISTER_BYTES"]
    exec(AS_PYTHON["compiled/tiles.py"], expected)
    sum_of_taps, add_products = written["sum_of_taps"], written["add_products"]
    P, V, lanes = 2, 3, written["REGISTER_BYTES"] // 8
    unroll = (0,) * P, (0,) * V
    rng = np.random.default_rng(0)
    x, weight, bias, y, dweight = (rng.standard_normal(n) for n in (200, 20, 5, 300, 60))
    taps, rows = np.array([9, 2, 11, 5, 0, 3]), np.array([1, 40, 5])
    taps_of = (*unroll, x, 3, taps, 1, 4, weight, 3, bias, 2)
    products = (*unroll, x, 3, rows, 1, x[::-1].copy(), 6, taps, 2, 3, dweight.copy(), 4, 11)

    @numba.njit
    def tile_of_taps(unroll_p, unroll_v, x, at, taps, k, count, weight, first, bias, o, add, y, to, line):
        sum_of_taps(unroll_p, unroll_v, x, at, taps, k, count, weight, first, bias, o, add, y, to, line)

    @numba.njit
    def tile_of_products(unroll_p, unroll_v, dy, d_at, rows, o, x, at, taps, k, count, dweight, to, line):
        add_products(unroll_p, unroll_v, dy, d_at, rows, o, x, at, taps, k, count, dweight, to, line)

    for add in (False, True):
        found, wanted = y.copy(), y.copy()
        tile_of_taps(*taps_of, add, found, 5, V * lanes + 7)
        expected["sum_of_taps"](*taps_of, add, wanted, 5, V * lanes + 7)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    found, wanted = dweight.copy(), dweight.copy()
    tile_of_products(*products[:11], found, 4, 11)
    expected["add_products"](*products[:11], wanted, 4, 11)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_the_intrinsics_are_what_the_copies_take_for_them():
    run_tiles()


@pytest.mark.parametrize(("old", "new"), TILES)
def test_a_fault_in_an_intrinsic_turns_it_red(old, new):
    with pytest.raises(AssertionError, match="Not equal"):
        run_tiles(old, new)
