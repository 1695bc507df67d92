"""How cases are drawn: one strategy for each op.

A length is small most of the time and long now and then, so that a case has one or two long axes: a large batch, many
channels, many filters, a wide image. `fitted` keeps the number of products within bounds. Workspaces begin at one byte,
which the kernels take as one window: then even a small image is cut into many pieces.
"""

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from fuzzing.case import DEFAULT_WORKSPACE, ORDERS, Case, Integers, Reals
from xpcnn.errors import ShapeError
from xpcnn.geometry import Window

PRODUCTS = 400_000
"""Multiply-adds of a case, at most: the textbook unrolls it in float64."""

Draw = Callable[[Any], Any]


def lengths(small: int, long: int) -> st.SearchStrategy[int]:
    """Return mostly lengths up to `small`, now and then one up to `long`."""
    few = st.integers(1, small)
    return st.one_of(few, few, st.integers(1, long))


def pairs(elements: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(elements, elements)


dtypes = st.sampled_from(("float32", "float64", "float16"))
orders = st.sampled_from(ORDERS)
kinds = st.sampled_from(("normal", "integers"))
workspaces = st.just(DEFAULT_WORKSPACE) | st.integers(0, 22).map(lambda n: 1 << n)


def fitted(most: int, sizes: list[int]) -> list[int]:
    """Halve the longest of the lengths until their product is at most `most`."""
    sizes = list(sizes)
    while prod(sizes) > most and max(sizes) > 1:
        longest = sizes.index(max(sizes))
        sizes[longest] = (sizes[longest] + 1) // 2
    return sizes


@st.composite
def conditions(draw: Draw) -> dict[str, Any]:
    """Return what every case has beside its arguments, whichever kind of kernels it is for."""
    return {
        "dtype": draw(dtypes),
        "seed": draw(st.integers(0, 999)),
        "threads": draw(st.integers(1, 4)),
        "workspace": draw(workspaces),
        "long_positions": draw(st.integers(0, 7)) == 7,
        "every_schedule": draw(st.integers(0, 3)) == 3,
    }


@st.composite
def windows(draw: Draw, *, pooling: bool = False) -> Window:
    """Return a window; for pooling its padding is smaller than its size."""
    size = draw(pairs(lengths(3, 18 if pooling else 7)))
    if pooling:
        padding = st.tuples(*(pairs(st.integers(0, length - 1)) for length in size))
    else:
        padding = pairs(pairs(lengths(4, 8).map(lambda length: length - 1)))
    return Window(
        size,
        draw(st.just((1, 1)) | pairs(st.integers(1, 4))),
        draw(st.just(0) | padding | st.just("same")),
        draw(st.just((1, 1)) | pairs(st.integers(1, 3))),
        draw(st.sampled_from(("floor", "ceil"))),
    )


@st.composite
def images(draw: Draw, window: Window, *, pooling: bool = False) -> tuple[int, int]:
    """Return the size of an image that the window fits; for pooling each window has a pixel of it."""
    least, more = [1, 1], draw(pairs(lengths(9, 40)))
    if window.padding != "same":
        least = [max(e - sum(p), 1) for e, p in zip(window.extent, window.padding, strict=True)]
    H, W = (length - 1 + other for length, other in zip(least, more, strict=True))
    if pooling:
        assume(all(_has_pixels(window, axis, length) for axis, length in enumerate((H, W))))
    return H, W


def _has_pixels(window: Window, axis: int, length: int) -> bool:
    size, stride, dilation = window.size[axis], window.stride[axis], window.dilation[axis]
    try:
        count = window.output_size(*((length, 99) if axis == 0 else (99, length)))[axis]
    except ShapeError:
        return False
    before = window.pads(*((length, 99) if axis == 0 else (99, length)))[axis][0]
    starts = (o * stride - before for o in range(count))
    return all(any(0 <= start + i * dilation < length for i in range(size)) for start in starts)


@st.composite
def convolutions(draw: Draw) -> tuple[Window, int, int, int, int, tuple[int, int]]:
    """Return (window, N, channels of a group, filters of a group, groups, size of the image)."""
    window = draw(windows())
    H, W = draw(images(window))
    groups = draw(st.sampled_from((1, 1, 1, 1, 1, 1, 2, 3, 4, 7)))
    pixels = prod(window.output_size(H, W)) * prod(window.size) * groups
    sizes = draw(lengths(3, 130)), draw(lengths(4, 300)), draw(lengths(5, 70))
    N, C, O = fitted(max(PRODUCTS // pixels, 1), list(sizes))
    return window, N, C, O, groups, (H, W)


@st.composite
def conv(draw: Draw, *, backward: bool = False) -> Case:
    window, N, C, O, groups, size = draw(convolutions())
    of = draw(kinds)
    x = Reals((N, groups * C, *size), of, draw(orders))
    weight = Reals((groups * O, C, *window.size), of, draw(st.sampled_from(("C", "Fortran", "reversed"))))
    if backward:
        dy = Reals((N, groups * O, *window.output_size(*size)), of, draw(orders))
        arguments: tuple[Any, ...] = (dy, x, weight, window, groups, draw(st.booleans()))
    else:
        bias = draw(st.sampled_from((None, Reals((groups * O,), of))))
        arguments = (x, weight, bias, window, groups)
    case = Case("conv_backward" if backward else "conv", arguments, **draw(conditions()))
    few = pieces(case, N, C, O, groups, window, size)
    return replace(case, workspace=draw(st.one_of(few, few, few, st.just(case.workspace))))


@st.composite
def pieces(
    draw: Draw, case: Case, N: int, C: int, O: int, groups: int, window: Window, size: tuple[int, int]
) -> int:
    """Return the bytes of a workspace that holds a few of the pieces that a kernel takes at a time."""
    (KH, KW), (OH, OW) = window.size, window.output_size(*size)
    ring = (
        window.extent[0]
        * len({j * window.dilation[1] % window.stride[1] for j in range(KW)})
        * groups
        * C
        * N
    )
    halo = (KW - 1) * window.dilation[1] // window.stride[1]
    column, count = draw(
        st.sampled_from(
            (
                (
                    ring,
                    lambda n: n + halo,
                ),  # columns of the rows that a window spans, with the halo of the last one
                (ring, lambda n: -(-OW // (n + 1)) + halo),  # so many of them that there are n + 1 pieces
                (ring, lambda n: max(OW - n, 1) + halo),
                (KH * groups * C * KW * N, lambda n: n),  # columns of unrolled rows
                (KW * groups * O * N, lambda n: n),  # columns of the products of all taps along the width
                (KH * groups * C * KW * N * OW, lambda n: n),  # unrolled rows
                (groups * C * KH * KW * OH * OW, lambda n: n),  # unrolled images
            )
        )
    )
    return column * count(draw(lengths(6, 40))) * case.threads * (int(case.dtype.removeprefix("float")) // 8)


@st.composite
def im2col(draw: Draw) -> Case:
    window, N, C, _, _, size = draw(convolutions())
    x = Reals((N, C, *size), "normal", draw(orders))
    return Case("im2col", (x, window, draw(st.sampled_from((0, -2.5)))), **draw(conditions()))


@st.composite
def col2im(draw: Draw) -> Case:
    window, N, C, _, _, size = draw(convolutions())
    cols = Reals((C, *window.size, N, *window.output_size(*size)), draw(kinds), draw(orders))
    return Case("col2im", (cols, size, window), **draw(conditions()))


@st.composite
def pools(draw: Draw) -> tuple[tuple[int, ...], tuple[int, ...], Window]:
    """Return (shape of x, shape of y, window)."""
    window = draw(windows(pooling=True))
    H, W = draw(images(window, pooling=True))
    pixels = max(prod(window.output_size(H, W)) * prod(window.size), H * W)
    N, C = fitted(max(PRODUCTS // 4 // pixels, 1), [draw(lengths(3, 130)), draw(lengths(4, 70))])
    return (N, C, H, W), (N, C, *window.output_size(H, W)), window


@st.composite
def max_pool(draw: Draw) -> Case:
    x, _, window = draw(pools())
    of = draw(st.sampled_from(("normal", "integers")))  # of integers many are equal: the first must win
    return Case("max_pool", (Reals(x, of, draw(orders)), window), **draw(conditions()))


@st.composite
def max_pool_backward(draw: Draw) -> Case:
    x, y, window = draw(pools())
    pixels = prod(window.size)
    winner = Integers(y, pixels, "uint8" if pixels <= 256 else "int32", draw(orders))
    dy = Reals(y, draw(kinds), draw(orders))
    return Case("max_pool_backward", (dy, winner, x[2:], window), **draw(conditions()))


@st.composite
def average_pool(draw: Draw, *, backward: bool = False) -> Case:
    x, y, window = draw(pools())
    of, order, counted = draw(kinds), draw(orders), draw(st.booleans())
    if backward:
        return Case(
            "average_pool_backward", (Reals(y, of, order), x[2:], window, counted), **draw(conditions())
        )
    return Case("average_pool", (Reals(x, of, order), window, counted), **draw(conditions()))


@st.composite
def tables(draw: Draw) -> tuple[int, ...]:
    """Return the shape of whatever has its channels, or features, on axis 1: (N,C), (N,C,L) or (N,C,H,W)."""
    axes = draw(st.integers(2, 4))
    N, C, *rest = fitted(60_000, [draw(lengths(4, 300)) for _ in range(axes)])
    return N, C, *rest


@st.composite
def relu(draw: Draw, *, backward: bool = False) -> Case:
    shape, order = draw(tables()), draw(orders)
    other = Reals(shape, "normal", draw(st.just(order) | orders))
    if backward:
        return Case("relu_backward", (Reals(shape, "normal", order), other), **draw(conditions()))
    return Case("relu", (other,), **draw(conditions()))


@st.composite
def activation(draw: Draw, name: str) -> Case:
    """Return a case of an activation other than ReLU, or of its backward, which takes x, or y of sigmoid and tanh."""
    shape, order = draw(tables()), draw(orders)
    kind = name.removesuffix("_backward")
    other = Reals(shape, "normal", draw(st.just(order) | orders))
    given = (Reals(shape, "normal", order), other) if name.endswith("_backward") else (other,)
    numbers = {"leaky_relu": (draw(st.sampled_from((0.0, 0.125, 0.01))),), "clip": (-0.5, 0.75)}.get(kind, ())
    return Case(name, (*given, *numbers), **draw(conditions()))


@st.composite
def sample_norm(draw: Draw, name: str) -> Case:
    """Return a case of group or layer normalisation, or of a backward."""
    groups = draw(st.sampled_from((1, 2, 3, 7)))
    N, C, *rest = fitted(10_000 // groups, list(draw(tables())))
    by_groups = name.startswith("group")
    shape = (N, C * groups, *rest) if by_groups else (N, C, *rest)
    weight = shape[1:2] if by_groups else shape[-draw(st.integers(1, len(shape) - 1)) :]
    x = Reals(shape, draw(st.sampled_from(("normal", "shifted"))), draw(orders))
    given = (Reals(shape, "normal", draw(orders)), x) if name.endswith("_backward") else (x,)
    parameters = (Reals(weight),) if name.endswith("_backward") else (Reals(weight), Reals(weight))
    numbers = (groups, 0.1) if by_groups else (0.1,)
    return Case(name, (*given, *parameters, *numbers), **draw(conditions()))


@st.composite
def flatten(draw: Draw) -> Case:
    return Case("flatten", (Reals(draw(tables()), "normal", draw(orders)),), **draw(conditions()))


@st.composite
def affine(draw: Draw, *, backward: bool = False) -> Case:
    leading = draw(st.just(()) | st.tuples(st.integers(1, 4)))
    M, I, O = fitted(PRODUCTS, [draw(lengths(5, 130)), draw(lengths(5, 900)), draw(lengths(5, 300))])
    of = draw(kinds)
    x, weight = (
        Reals((*leading, M, I), of, draw(orders)),
        Reals((O, I), of, draw(st.sampled_from(("C", "Fortran")))),
    )
    if backward:
        dy = Reals((*leading, M, O), of, draw(orders))
        return Case("affine_backward", (dy, x, weight, draw(st.booleans())), **draw(conditions()))
    bias = draw(st.sampled_from((None, Reals((O,), of))))
    return Case("affine", (x, weight, bias), **draw(conditions()))


@st.composite
def batch_statistics(draw: Draw) -> Case:
    x = Reals(draw(tables()), draw(st.sampled_from(("normal", "shifted"))), draw(orders))
    return Case("batch_statistics", (x,), **draw(conditions()))


@st.composite
def batch_norm(draw: Draw, *, backward: bool = False) -> Case:
    shape, of = draw(tables()), draw(st.sampled_from(("normal", "shifted")))
    x, channels = Reals(shape, of, draw(orders)), (shape[1],)
    weight, bias, mean = Reals(channels), Reals(channels), Reals(channels, of)
    variance, eps = Reals(channels, "positive"), draw(st.sampled_from((1e-5, 1e-3)))
    if backward:
        dy = Reals(shape, "normal", draw(orders))
        arguments: tuple[Any, ...] = (dy, x, weight, mean, variance, eps, draw(st.booleans()))
    else:
        arguments = (x, weight, bias, mean, variance, eps)
    return Case("batch_norm_backward" if backward else "batch_norm", arguments, **draw(conditions()))


@st.composite
def softmax_cross_entropy(draw: Draw, *, backward: bool = False) -> Case:
    M, D = draw(lengths(9, 700)), draw(lengths(12, 100))
    targets = draw(
        st.sampled_from([Integers((M,), D, dtype) for dtype in ("int64", "int32", "uint8")])
        | st.builds(Reals, st.just((M, D)), st.sampled_from(("rows", "one-hot")), orders)
    )
    of = "rows" if backward else draw(st.sampled_from(("normal", "shifted", "distinct")))
    name = "softmax_cross_entropy_backward" if backward else "softmax_cross_entropy"
    return Case(name, (Reals((M, D), of, draw(orders)), targets), **draw(conditions()))


@st.composite
def keep_mask(draw: Draw) -> Case:
    counter = Integers((1,), 1 << 62, "uint64")
    p, key = draw(st.sampled_from((0.0, 0.1, 0.5, 0.999))), draw(st.integers(0, 2**64 - 1))
    return Case("keep_mask", (draw(tables()), p, counter, key), **draw(conditions()))


@st.composite
def update(draw: Draw, name: str) -> Case:
    """Return an optimizer's update of flat buffers."""
    size, known = draw(lengths(70, 2000)), draw(conditions())
    flat, state, lr = Reals((size,)), Reals((size,), state=True), draw(st.sampled_from((0.1, 1e-3)))
    if name == "sgd_update":
        return Case(name, (flat, flat, lr), **known)
    if name == "momentum_update":
        return Case(name, (flat, flat, state, lr, draw(st.sampled_from((0.0, 0.9)))), **known)
    eps, t = draw(st.sampled_from((1e-3, 1e-8))), draw(st.sampled_from((1, 2, 1000)))
    squares = Reals((size,), "positive", state=True)
    return Case(name, (flat, flat, state, squares, lr, (0.9, 0.999), eps, t), **known)


ACTIVATIONS, SAMPLE_NORMS = (
    [f"{name}{way}" for name in names for way in ("", "_backward")]
    for names in (("clip", "gelu", "leaky_relu", "sigmoid", "silu", "tanh"), ("group_norm", "layer_norm"))
)

DRAWS: dict[str, st.SearchStrategy[Case]] = {
    "adam_update": update("adam_update"),
    "affine": affine(),
    "affine_backward": affine(backward=True),
    "average_pool": average_pool(),
    "average_pool_backward": average_pool(backward=True),
    "batch_norm": batch_norm(),
    "batch_norm_backward": batch_norm(backward=True),
    "batch_statistics": batch_statistics(),
    "col2im": col2im(),
    "conv": conv(),
    "conv_backward": conv(backward=True),
    "flatten": flatten(),
    "im2col": im2col(),
    "keep_mask": keep_mask(),
    "max_pool": max_pool(),
    "max_pool_backward": max_pool_backward(),
    "momentum_update": update("momentum_update"),
    "relu": relu(),
    "relu_backward": relu(backward=True),
    "sgd_update": update("sgd_update"),
    **{name: activation(name) for name in ACTIVATIONS},
    **{name: sample_norm(name) for name in SAMPLE_NORMS},
    "softmax_cross_entropy": softmax_cross_entropy(),
    "softmax_cross_entropy_backward": softmax_cross_entropy(backward=True),
}
"""The cases of every op that a kernel replaces."""
