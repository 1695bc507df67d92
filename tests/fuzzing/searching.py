"""Draw cases, check each, and reduce the first that fails to the smallest that does."""

import time
from math import inf

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from fuzzing.case import Case
from fuzzing.comparison import check
from fuzzing.draws import DRAWS


def search(op: str, kind: str, cases: int, seed: int, until: float = inf, reduce: bool = True) -> int:
    """Check random cases of an op on one kind of kernels, the same ones for the same seed; return how many there were.

    After `until`, of time.monotonic(), no further case is begun, but one that failed is still reduced.

    Raises
    ------
    AssertionError
        For the smallest case that was found to fail (or the first, without `reduce`), with the code that runs it again.
    """
    failed: list[Case] = []
    checked = 0

    @hypothesis.seed(seed)
    @settings(
        max_examples=cases, database=None, deadline=None, derandomize=False, report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink] if reduce else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(DRAWS[op])
    def one(case: Case) -> None:
        nonlocal checked
        if not failed and time.monotonic() > until:
            return
        try:
            check(case, kind)
        except Exception:
            failed[:] = [case]
            raise
        checked += not failed

    try:
        one()
    except Exception as error:
        if not failed:
            raise
        raise AssertionError(f"{type(error).__name__}: {error}\n\n{program(failed[0], kind)}") from error
    return checked


def program(case: Case, kind: str) -> str:
    """Return the code that checks a case, to be run in the repository's root."""
    return f"""import sys

sys.path.insert(0, "tests")
from fuzzing import *

check({case!r}, {kind!r})
"""
