"""Thousands of random cases of every kernel, pure, compiled and CUDA's on the simulated device, against the textbook.

The seed is fixed, so the cases are the same in every run; `tools/fuzz_kernels.py` looks further. A case that either has
found goes to FOUND. At the end faults are planted, to see that the cases find them.
"""

import ast
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from cuda_examples import WHY_NOT
from fuzzing import DRAWS, KINDS, Case, Integers, Reals, Window, check, program, search, substitutes
from fuzzing.case import ORDERS, lay

from xpcnn import kernels

SEED = 20261124

CASES = {
    "pure": {
        **dict.fromkeys(DRAWS, 100), "conv": 500, "conv_backward": 700, "affine": 150, "affine_backward": 150,
    },
    "compiled": {
        **dict.fromkeys(DRAWS, 100), "conv": 500, "conv_backward": 900, "max_pool": 150, "max_pool_backward": 150,
    },
    "cuda": {**dict.fromkeys(DRAWS, 70), "conv": 150, "conv_backward": 150},
}  # fmt: skip
"""How many cases of each op, where the kind has a kernel for it."""

NUMPY = {
    "adam_update", "batch_norm", "batch_norm_backward", "batch_statistics", "conv", "conv_backward", "max_pool",
    "max_pool_backward", "momentum_update", "relu", "relu_backward",
}  # fmt: skip
OPS = {
    "pure": NUMPY | {"affine", "affine_backward", "average_pool", "flatten"},
    "compiled": NUMPY,
    "cuda": DRAWS.keys() - {"affine", "affine_backward", "flatten"},
}
EVERY = [(kind, op) for kind in KINDS for op in sorted(OPS[kind])]


def needs(kind):
    """Skip a kind of kernels that this machine cannot run."""
    if kind == "compiled":
        pytest.importorskip("numba")
    elif kind == "cuda" and WHY_NOT:
        pytest.skip(WHY_NOT)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kernel_is_fuzzed(kind):
    needs(kind)
    assert set(substitutes(kind)) == set(OPS[kind]), (
        "a kernel needs its line in OPS, and its op a strategy in DRAWS"
    )


def test_there_are_thousands():
    assert sum(CASES[kind][op] for kind, op in EVERY) >= 5000


@pytest.mark.parametrize(("kind", "op"), EVERY)
def test_a_kernel_is_the_textbook(kind, op):
    needs(kind)
    search(op, kind, CASES[kind][op], SEED)


# ---------------------------------------------------------------- what was found


FOUND = [
    # numbers of an earlier, longer piece of columns were still in the tail of a later one
    *(
        ("compiled", Case(
            "conv_backward",
            (Reals((50, 8, 13, 13)), Reals((50, 256, 13, 13)), Reals((8, 256, 3, 3)), Window(3, 1, 1), 1),
            threads=threads,
        ))
        for threads in (1, 2, 3)
    ),
    # products of one window at a time were added in turn; tests/kernels/cpu/test_pairwise.py is red if they are again
    ("pure", Case(
        "conv_backward",
        (
            Reals((1, 1, 3, 39), order="broadcast"), Reals((1, 1, 3, 39), order="broadcast"), Reals((1, 1, 1, 1)),
            Window(1), 1, False,
        ),
        workspace=4,
    )),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "case"), FOUND, ids=[f"{kind}-{case.op}" for kind, case in FOUND])
def test_what_was_found_is_right(kind, case):
    needs(kind)
    check(case, kind)


# ---------------------------------------------------------------- the cases themselves


def test_a_case_is_the_code_that_makes_it(monkeypatch):
    case = Case(
        "relu",
        (Reals((2, 3), "shifted", "rows"), Integers((4,), 9, "uint8"), Window(3, 2, ((0, 1), (2, 3)), 2)),
        threads=3,
    )
    assert eval(repr(case)) == case
    monkeypatch.setattr(sys, "path", [*sys.path])  # which the program adds to
    made = {}
    exec(program(dataclasses.replace(case, op="flatten", arguments=case.arguments[:1]), "pure"), made)
    assert made["check"] is check


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_changes_no_number(order):
    array = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype("float32")
    found = lay(array, order)
    wanted = np.repeat(array[..., :1], 5, axis=-1) if order == "broadcast" else array
    np.testing.assert_array_equal(found, wanted)
    assert found.flags.c_contiguous == (order == "C")


def test_no_kernel_imports_a_name_that_a_test_replaces():
    """A test that replaced threads.count did not reach a module that had imported the name, and missed a fault."""
    folder = Path(kernels.__file__).parent
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "xpcnn.kernels.cpu.threads":
                names = {name.name for name in node.names}
                assert file.name == "__init__.py" or not names & {"count", "WORTHWHILE"}, (
                    f"{file}: read threads.count"
                )


# ---------------------------------------------------------------- faults that the cases must find


def without_a_tap(run, x, weight, bias, window, groups=1):
    return run(x, np.roll(weight, 1, axis=3), bias, window, groups)


def without_dilation(run, x, weight, bias, window, groups=1):
    (top, _), (left, _) = window.pads(*x.shape[2:])
    OH, OW = window.output_size(*x.shape[2:])
    near = Window(window.size, window.stride, ((top, 99), (left, 99)))
    return run(x, weight, bias, near, groups)[:, :, :OH, :OW]


def of_another_group(run, x, weight, bias, window, groups=1):
    return run(np.roll(x, weight.shape[1], axis=1), weight, bias, window, groups)


def with_stale_numbers(run, x, weight, bias, window, groups=1, left=[0]):  # noqa: B006
    y = run(x, weight, bias, window, groups).copy()
    y[-1, -1, -1, y.shape[3] - y.shape[3] % 4 :] += np.asarray(left[0], y.dtype)
    left[0] = float(y.flat[0])
    return y


def without_a_tail(run, x, weight, bias, window, groups=1):
    y = run(x, weight, bias, window, groups).copy()
    whole = y.shape[3] * len(y) // 16 * 16
    if whole and groups == 1 and len(weight) % 4:
        y[whole % len(y) or len(y) :, :, :, -1] = 0
    return y


def with_a_wrong_thousandth(run, x, weight, bias, window, groups=1):
    y = run(x, weight, bias, window, groups).copy()
    y.flat[-1] *= 1.001
    return y


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "fault",
    [without_a_tap, without_dilation, of_another_group, with_stale_numbers, without_a_tail, with_a_wrong_thousandth],
)  # fmt: skip
def test_a_planted_fault_is_found(monkeypatch, kind, fault):
    needs(kind)
    right = substitutes(kind)["conv"]
    faulty = substitutes(kind) | {"conv": lambda *arguments: fault(right, *arguments)}
    monkeypatch.setattr("fuzzing.comparison.substitutes", lambda kind: faulty)
    with pytest.raises(AssertionError, match=r"elements are wrong(.|\n)*check\(Case\("):
        search("conv", kind, CASES[kind]["conv"], SEED, reduce=False)
