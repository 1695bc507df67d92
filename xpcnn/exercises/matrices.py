"""Exercises on matrices: the affine layer, softmax with cross entropy, and batch normalisation."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.exercises.exercise import ADJOINT, Case, Difference, Exercise, Function, adjoint, difference

# ---------------------------------------------------------------- affine


def _draw_affine(rng: np.random.Generator) -> list[Case]:
    return [
        Case(
            {
                "x": rng.standard_normal((N, D)),
                "weight": rng.standard_normal((M, D)),
                "bias": rng.standard_normal(M),
            },
            {},
        )
        for N, D, M in ((2, 3, 4), (5, 4, 2), (3, 3, 3), (1, 1, 1))
    ]


AFFINE = Exercise(
    "affine", "affine", "affine_backward", {"dx": "x", "dweight": "weight", "dbias": "bias"}, _draw_affine,
    saved=lambda case: (case.arrays["x"], case.arrays["weight"]),
    textbook=lambda case: ops.affine(*case.arrays.values()),
    textbook_backward=lambda case, dy: ops.affine_backward(dy, case.arrays["x"], case.arrays["weight"]),
    identity=adjoint("x", "weight", zero=("bias",)), formula=ADJOINT,
)  # fmt: skip


# ---------------------------------------------------------------- softmax and cross entropy


def _draw_softmax(rng: np.random.Generator) -> list[Case]:
    cases = [
        Case({"x": 3 * rng.standard_normal((N, M)), "t": rng.integers(0, M, N)}, {})
        for N, M in ((1, 2), (4, 3), (3, 10))
    ]
    large = np.array([[1000.0, 1001.0, 999.0], [-1000.0, -1002.0, -1001.0]])  # exp(1000) is infinite
    return [*cases, Case({"x": large, "t": np.array([0, 2])}, {})]


def _loss(case: Case) -> Array:
    return np.asarray(ops.softmax_cross_entropy(case.arrays["x"], case.arrays["t"])[0])


def _loss_backward(case: Case, dy: Array) -> tuple[Array]:
    x, t = case.arrays["x"], case.arrays["t"]
    return (dy * ops.softmax_cross_entropy_backward(ops.softmax_cross_entropy(x, t)[1], t),)


def _rows_add_up_to_zero(
    case: Case, forward: Function, gradients: Mapping[str, Array], dy: Array
) -> Difference | None:
    """The loss stays the same when a number is added to a whole row of x, so each row of dx adds up to 0."""
    rows = gradients["dx"].sum(axis=1)
    return difference("sum of dx", rows, np.zeros_like(rows))


SOFTMAX = Exercise(
    "softmax", "softmax_cross_entropy", "softmax_cross_entropy_backward", {"dx": "x"}, _draw_softmax,
    saved=lambda case: (case.arrays["x"], case.arrays["t"]),
    textbook=_loss, textbook_backward=_loss_backward,
    identity=_rows_add_up_to_zero, formula="sum over m of dx[n, m] = 0",
    more={"softmax": lambda case: ((case.arrays["x"],), ops.softmax(case.arrays["x"]))},
)  # fmt: skip


# ---------------------------------------------------------------- batch normalisation


def _draw_batch_norm(rng: np.random.Generator) -> list[Case]:
    return [
        Case(
            {
                "x": 2 * rng.standard_normal(shape) + 1,
                "gamma": rng.standard_normal(shape[1]),
                "beta": rng.standard_normal(shape[1]),
            },
            {"eps": eps},
        )
        for shape, eps in (((4, 1, 1, 1), 1e-5), ((3, 2, 2, 3), 1e-5), ((2, 3, 3, 2), 0.1))
    ]


def _batch_norm(case: Case) -> Array:
    x, gamma, beta = case.arrays.values()
    return ops.batch_norm(x, gamma, beta, *ops.batch_statistics(x), case.numbers["eps"])


def _unbiased(case: Case) -> Array:
    x, gamma, beta = case.arrays.values()
    (mean, variance), M = ops.batch_statistics(x), x.size // x.shape[1]
    return ops.batch_norm(x, gamma, beta, mean, variance * M / (M - 1), case.numbers["eps"])


def _batch_norm_backward(case: Case, dy: Array) -> tuple[Any, ...]:
    x, gamma, _ = case.arrays.values()
    return ops.batch_norm_backward(dy, x, gamma, *ops.batch_statistics(x), case.numbers["eps"], True)


def _channels_add_up_to_zero(
    case: Case, forward: Function, gradients: Mapping[str, Array], dy: Array
) -> Difference | None:
    """y stays the same when a number is added to a whole channel of x, so each channel of dx adds up to 0."""
    channels = gradients["dx"].sum(axis=(0, 2, 3))
    return difference("sum of dx", channels, np.zeros_like(channels))


BATCH_NORM = Exercise(
    "batch_norm", "batch_norm", "batch_norm_backward", {"dx": "x", "dgamma": "gamma", "dbeta": "beta"},
    _draw_batch_norm,
    saved=lambda case: (case.arrays["x"], case.arrays["gamma"]),
    textbook=_batch_norm, textbook_backward=_batch_norm_backward,
    identity=_channels_add_up_to_zero, formula="sum over n, h, w of dx[n, c, h, w] = 0",
    variants={"unbiased": _unbiased},
)  # fmt: skip
