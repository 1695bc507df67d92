"""Run a case on one kind of kernels and hold the result against the textbook's, in float64."""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

import numpy as np
from cuda_examples import host_module

from fuzzing.bounds import BOUNDS, SUMS, terms, textbook
from fuzzing.case import Case
from xpcnn import kernels
from xpcnn.backend import use_backend
from xpcnn.kernels import cuda
from xpcnn.kernels.cpu import threads
from xpcnn.kernels.cpu import workspace as memory
from xpcnn.kernels.registry import registered
from xpcnn.simulated.cuda import every_schedule

ROUNDINGS = 8
"""Times epsilon times the sum of magnitudes: as far as a result may be off."""


@cache
def substitutes(kind: str) -> dict[str, Callable[..., Any]]:
    """Return the kernels of a kind by the names of their ops: of the compiled ones those that replace NumPy's."""
    if kind == "cuda":
        return cuda.substitutes(host_module)
    kernels.load("numpy", "pure" if kind == "pure" else "tuned")
    return registered("plain" if kind == "pure" else "compiled")


KINDS = ("pure", "compiled", "cuda")


@contextmanager
def conditions(kind: str, case: Case) -> Iterator[None]:
    """Number of threads, workspace and schedules as the case has them.

    The number of threads is replaced in its module: a kernel that imported the name would not see it. Memory that is
    not written yet reads NaN, in workspaces and in new arrays (except those of the compiled kernels: Numba would not
    know the function that replaces np.empty).
    """
    with ExitStack() as stack:
        if kind != "compiled":
            for function in (np.empty, np.empty_like):
                stack.enter_context(patch.object(np, function.__name__, filled(function)))
        if kind == "cuda":
            stack.enter_context(
                patch.object(importlib.import_module("xpcnn.kernels.cuda.conv"), "WORKSPACE", case.workspace)
            )
            if case.long_positions:
                stack.enter_context(
                    patch.object(importlib.import_module("xpcnn.kernels.cuda.launch"), "WIDE", 1)
                )
            if case.every_schedule:
                stack.enter_context(every_schedule())
        else:
            stack.enter_context(patch.object(threads, "count", lambda: case.threads))
            stack.enter_context(patch.object(threads, "WORTHWHILE", 0))
            stack.enter_context(patch.dict(os.environ, {"XPCNN_WORKSPACE": str(case.workspace)}))
            for buffer in list(memory._all.values()):
                buffer.fill(0xFF)  # NaN in every floating-point type
        yield


def filled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return np.empty, or np.empty_like, whose arrays are full of NaN, or of 77 where the dtype has none."""

    def make(*args: Any, **kwargs: Any) -> Any:
        array = function(*args, **kwargs)
        array.fill(np.nan if array.dtype.kind == "f" else 77)
        return array

    return make


def check(case: Case, kind: str) -> None:
    """Raise AssertionError if a kernel's result is not the textbook's; shape, dtype and its arguments count too.

    The dtype is that of the textbook's result for the same arguments, the values are those of its result in float64.
    """
    run, reference, given = substitutes(kind)[case.op], textbook(case.op), case.build()
    with np.errstate(over="ignore", under="ignore"):
        with conditions(kind, case):
            results = left_behind(run, given)
        with use_backend("numpy", "reference"):
            likes = left_behind(reference, case.build())
            wanted = left_behind(reference, [_wide(a) for a in case.build()])
            bounds = BOUNDS[case.op](*[_wide(a) for a in case.build()])
            counts = terms(case.op, case.build()) if case.repeats else 0
    if not case.op.endswith("_update"):
        for number, (now, then) in enumerate(zip(given, case.build(), strict=True)):
            if isinstance(now, np.ndarray):
                np.testing.assert_array_equal(now, then, err_msg=f"argument {number} was written to")
    assert len(results) == len(wanted), "another number of results"
    bounds, counts = (of if isinstance(of, tuple) else (of,) * len(wanted) for of in (bounds, counts))
    compared = zip(results, likes, wanted, bounds, counts, strict=True)
    for number, (result, like, want, bound, count) in enumerate(compared):
        if like is None:
            assert result is None, f"result {number}: expected None"
            continue
        assert result.dtype == like.dtype, f"result {number}: expected {like.dtype}, got {result.dtype}"
        both = 2 if case.dtype == "float64" else 1  # then the textbook rounds as well
        compare(case, f"result {number}", result, want, bound, np.maximum(ROUNDINGS, both * (count + 1) / 2))


def left_behind(op: Callable[..., Any], arguments: list[Any]) -> list[Any]:
    """Return an op's results; of an update, which has none, the arrays that it was given."""
    results = op(*arguments)
    if results is None:
        return [a for a in arguments if isinstance(a, np.ndarray)]
    return list(results) if isinstance(results, tuple) else [results]


def compare(case: Case, what: str, result: Any, want: Any, bound: Any, roundings: Any = ROUNDINGS) -> None:
    assert result.shape == want.shape, f"{what}: expected the shape {want.shape}, got {result.shape}"
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(result, want, err_msg=what)
        return
    info = np.finfo(case.dtype)
    if case.exact and case.op in SUMS and np.max(bound, initial=0) < 1 / info.eps:
        bound = 0  # all integers up to 1 / epsilon are there
    result = result.astype(np.float64)
    allowed = roundings * (info.eps * bound + info.smallest_subnormal * (np.max(bound, initial=0) > 0))
    wrong = ~((abs(result - want) <= allowed) | (result == want) | (np.isnan(result) & np.isnan(want)))
    if wrong.any():
        at = np.unravel_index(
            np.argmax(np.where(wrong, np.nan_to_num(abs(result - want), nan=np.inf), -1)), want.shape
        )
        where = ", ".join(map(str, at))
        raise AssertionError(
            f"{what}: {wrong.sum()} of {want.size} elements are wrong; [{where}] is {result[at]!r}, the textbook's "
            f"{want[at]!r}; rounding explains {np.broadcast_to(allowed, want.shape)[at]:.2g}"
        )


def _wide(value: Any) -> Any:
    return value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
