"""Exercises on windows: im2col, convolution and max pooling."""

from collections.abc import Mapping

import numpy as np

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.exercises.exercise import ADJOINT, Case, Difference, Exercise, Function, adjoint, difference
from xpcnn.geometry import Window

# (N, C, H, W), (KH, KW), stride, padding
PLACES = (
    ((1, 1, 3, 3), (2, 2), 1, 0),
    ((2, 3, 4, 4), (3, 3), 1, 1),
    ((2, 2, 5, 7), (3, 2), 2, 0),
    ((1, 2, 4, 5), (2, 3), 1, 2),
    ((3, 1, 6, 4), (1, 1), 1, 0),
)


def _window(case: Case) -> Window:
    size = case.numbers.get("size") or (case.numbers["KH"], case.numbers["KW"])
    return Window(size, case.numbers["stride"], case.numbers.get("padding", 0), rounding="floor")


def _numbers(size: tuple[int, int], stride: int, padding: int) -> dict[str, int]:
    return {"KH": size[0], "KW": size[1], "stride": stride, "padding": padding}


# ---------------------------------------------------------------- im2col: a row for each window, as in the book


def _draw_im2col(rng: np.random.Generator) -> list[Case]:
    return [
        Case({"x": rng.standard_normal(shape)}, _numbers(size, stride, padding))
        for shape, size, stride, padding in PLACES
    ]


def _im2col(case: Case) -> Array:
    cols = ops.im2col(case.arrays["x"], _window(case))  # (C, KH, KW, N, OH, OW)
    C, KH, KW, N, OH, OW = cols.shape
    return cols.transpose(3, 4, 5, 0, 1, 2).reshape(N * OH * OW, C * KH * KW)


def _col2im(case: Case, dcols: Array) -> tuple[Array]:
    x, window = case.arrays["x"], _window(case)
    N, C, H, W = x.shape
    cols = dcols.reshape(N, *window.output_size(H, W), C, *window.size)  # (N, OH, OW, C, KH, KW)
    return (ops.col2im(cols.transpose(3, 4, 5, 0, 1, 2), (H, W), window),)


IM2COL = Exercise(
    "im2col", "im2col", "col2im", {"dx": "x"}, _draw_im2col,
    saved=lambda case: (case.arrays["x"].shape,),
    textbook=_im2col, textbook_backward=_col2im, identity=adjoint("x"), formula=ADJOINT,
)  # fmt: skip


# ---------------------------------------------------------------- convolution


def _draw_conv(rng: np.random.Generator) -> list[Case]:
    cases = []
    for number, (shape, size, stride, padding) in enumerate(PLACES):
        O = number % 3 + 2
        arrays = {
            "x": rng.standard_normal(shape),
            "weight": rng.standard_normal((O, shape[1], *size)),
            "bias": rng.standard_normal(O),
        }
        cases.append(Case(arrays, {"stride": stride, "padding": padding}))
    return cases


def _filter_window(case: Case) -> Window:
    return Window(
        case.arrays["weight"].shape[2:], case.numbers["stride"], case.numbers["padding"], rounding="floor"
    )


def _conv(case: Case) -> Array:
    x, weight, bias = case.arrays.values()
    return ops.conv(x, weight, bias, _filter_window(case))


def _flipped(case: Case) -> Array:
    x, weight, bias = case.arrays.values()
    return ops.conv(x, weight[:, :, ::-1, ::-1], bias, _filter_window(case))


CONV = Exercise(
    "conv", "conv", "conv_backward", {"dx": "x", "dweight": "weight", "dbias": "bias"}, _draw_conv,
    saved=lambda case: (case.arrays["x"], case.arrays["weight"]),
    textbook=_conv,
    textbook_backward=lambda case, dy: ops.conv_backward(
        dy, case.arrays["x"], case.arrays["weight"], _filter_window(case)
    ),
    identity=adjoint("x", "weight", zero=("bias",)), formula=ADJOINT,
    variants={"flipped": _flipped},
)  # fmt: skip


# ---------------------------------------------------------------- max pooling


def _draw_pooling(rng: np.random.Generator) -> list[Case]:
    """Return cases without ties: every pixel is another number, and far enough from the next one for differences."""
    return [
        Case(
            {"x": rng.permutation(int(np.prod(shape))).reshape(shape) / 4 - 3},
            {"size": size, "stride": stride},
        )
        for shape, size, stride in (
            ((1, 1, 4, 4), 2, 2),
            ((2, 3, 4, 6), 2, 2),
            ((2, 2, 5, 5), 3, 2),  # windows that overlap
            ((1, 2, 6, 7), 2, 3),  # pixels that no window sees
        )
    ]


def _max_pool_backward(case: Case, dy: Array) -> tuple[Array]:
    x, window = case.arrays["x"], _window(case)
    return (ops.max_pool_backward(dy, ops.max_pool(x, window)[1], x.shape[2:], window),)


def _euler(case: Case, forward: Function, gradients: Mapping[str, Array], dy: Array) -> Difference | None:
    """<f(x), dy> = <x, dx>, channel by channel: f(a x) = a f(x) for a > 0, so Euler's theorem holds."""
    x, dx = case.arrays["x"], gradients["dx"]
    return difference("<x, dx>", (x * dx).sum(axis=(2, 3)), (forward(case) * dy).sum(axis=(2, 3)))


POOLING = Exercise(
    "pooling", "max_pool", "max_pool_backward", {"dx": "x"}, _draw_pooling,
    saved=lambda case: (case.arrays["x"],),
    textbook=lambda case: ops.max_pool(case.arrays["x"], _window(case))[0],
    textbook_backward=_max_pool_backward, identity=_euler, formula="<f(x), dy> = <x, dx>",
)  # fmt: skip
