"""Three checks of a reader's functions, each on its own: textbook, identity, differences."""

import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from xpcnn.backend import Array, use_backend
from xpcnn.exercises.exercise import Case, Difference, Exercise, difference

CHECKS = ("textbook", "identity", "differences")
STEP, TOLERANCE = 1e-5, 1e-5
"""Of the differences: x is moved by STEP, and the slope that follows is right to TOLERANCE."""


class Mistake(NamedTuple):
    """What is wrong: the function, the kind (a key of `report.WORDS`), the case, and what the words are filled with."""

    function: str
    kind: str
    case: str
    details: Mapping[str, Any]


class Report(NamedTuple):
    """For each of CHECKS the first mistake that it found, or None where it found none."""

    exercise: str
    cases: int
    mistakes: Mapping[str, Mistake | None]

    @property
    def passed(self) -> bool:
        return not any(self.mistakes.values())


class _Stop(Exception):
    """Raised with the mistake that ends a check."""

    def __init__(self, mistake: Mistake) -> None:
        self.mistake = mistake


def check(exercise: Exercise, functions: Mapping[str, Any], seed: int = 0) -> Report:
    """Judge a reader's functions by their names.

    The cases are drawn with `seed`. Each check stops at its first mistake, and the others still run.
    """
    cases = exercise.draw(np.random.default_rng(seed))
    reader = _Reader(exercise, functions)
    checks: dict[str, Callable[[Case, Array], None]] = {
        "textbook": reader.textbook, "identity": reader.identity, "differences": reader.differences,
    }  # fmt: skip
    mistakes: dict[str, Mistake | None] = {}
    with use_backend("numpy", kernels="reference"):
        for name, judge in checks.items():
            mistakes[name] = None
            rng = np.random.default_rng(seed)
            try:
                for case in cases:
                    judge(case, np.asarray(rng.standard_normal(exercise.textbook(case).shape)))
            except _Stop as stop:
                mistakes[name] = stop.mistake
    return Report(exercise.name, len(cases), mistakes)


class _Reader:
    """The reader's functions, called with care: whatever they raise, return or change becomes a mistake."""

    def __init__(self, exercise: Exercise, functions: Mapping[str, Any]) -> None:
        self.exercise, self.functions = exercise, functions

    # ---------------------------------------------------------------- the three checks

    def textbook(self, case: Case, dy: Array) -> None:
        exercise = self.exercise
        for name, arguments in exercise.more.items():
            values, expected = arguments(case)
            (got,) = self._results(name, case, values, {}, {name: expected.shape})
            self._compare(name, case, difference("y", got, expected), got, expected)
        expected = exercise.textbook(case)
        got = self.forward(case)
        self._compare(exercise.forward, case, difference("y", got, expected), got, expected)
        gradients = self.backward(case, dy)
        for name, right in zip(exercise.gradients, exercise.textbook_backward(case, dy), strict=True):
            self._compare(
                exercise.backward, case, difference(name, gradients[name], right), gradients[name], right
            )

    def identity(self, case: Case, dy: Array) -> None:
        found = self.exercise.identity(case, self.forward, self.backward(case, dy), dy)
        self._compare(self.exercise.backward, case, found)

    def differences(self, case: Case, dy: Array) -> None:
        gradients = self.backward(case, dy)
        for gradient, name in self.exercise.gradients.items():
            array = case.arrays[name]
            slopes = np.empty_like(array)
            for index in np.ndindex(array.shape):
                above, below = array.copy(), array.copy()
                above[index] += STEP
                below[index] -= STEP
                up, down = (
                    self.forward(Case({**case.arrays, name: moved}, case.numbers)) for moved in (above, below)
                )
                slopes[index] = np.vdot(up - down, dy) / (above[index] - below[index])
            self._compare(
                self.exercise.backward, case, difference(gradient, gradients[gradient], slopes, TOLERANCE)
            )

    # ---------------------------------------------------------------- calls

    def forward(self, case: Case) -> Array:
        shape = self.exercise.textbook(case).shape
        (y,) = self._results(
            self.exercise.forward, case, tuple(case.arrays.values()), case.numbers, {"y": shape}
        )
        return y

    def backward(self, case: Case, dy: Array) -> dict[str, Array]:
        exercise, of_loss = self.exercise, dy.ndim == 0
        saved = exercise.saved(case)
        shapes = {gradient: case.arrays[name].shape for gradient, name in exercise.gradients.items()}
        results = self._results(
            exercise.backward, case, saved if of_loss else (dy, *saved), case.numbers, shapes
        )
        return dict(zip(shapes, (dy * result if of_loss else result for result in results), strict=True))

    def _results(
        self,
        name: str,
        case: Case,
        values: tuple[Any, ...],
        numbers: Mapping[str, Any],
        shapes: Mapping[str, tuple[int, ...]],
    ) -> list[Array]:
        def stop(kind: str, **details: Any) -> _Stop:
            return _Stop(Mistake(name, kind, str(case), details))

        function = self.functions.get(name)
        if not callable(function):
            raise stop("missing")
        given = [value.copy() if isinstance(value, np.ndarray) else value for value in values]
        try:
            with np.errstate(all="ignore"):
                returned = function(*given, **numbers)
        except NotImplementedError:
            raise stop("unwritten") from None
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [frame for frame in frames if frame.name == name] or frames
            raise stop("raised", error=f"{type(error).__name__}: {error}", line=own[-1].lineno) from None
        for number, (before, after) in enumerate(zip(values, given, strict=True), start=1):
            if isinstance(before, np.ndarray) and not np.array_equal(before, after):
                raise stop("changed", number=number)
        results = list(returned) if isinstance(returned, (tuple, list)) else [returned]
        if returned is None:
            raise stop("nothing", names=", ".join(shapes))
        if len(results) != len(shapes):
            raise stop("count", names=", ".join(shapes), got=len(results))
        arrays = []
        for (what, shape), result in zip(shapes.items(), results, strict=True):
            if result is None:
                raise stop("nothing", names=what)
            array = np.asarray(result)
            if array.dtype.kind not in "fiu":
                raise stop("kind", what=what, got=type(result).__name__)
            if array.shape != shape:
                raise stop("shape", what=what, got=array.shape, expected=shape)
            arrays.append(array.astype(np.float64))
        return arrays

    def _hint(self, function: str, case: Case, got: Array, expected: Array) -> tuple[str, float] | None:
        if function == self.exercise.forward:
            for variant, wrong in self.exercise.variants.items():
                if np.allclose(got, wrong(case), atol=1e-9):
                    return (variant, 0.0)
        return _in_common(got, expected)

    def _compare(
        self,
        function: str,
        case: Case,
        found: Difference | None,
        got: Array | None = None,
        expected: Array | None = None,
    ) -> None:
        if found is None:
            return
        details = {**found._asdict(), "hint": None}
        if got is not None and expected is not None:
            details["hint"] = self._hint(function, case, got, expected)
        raise _Stop(Mistake(function, "differs", str(case), details))


def _in_common(got: Array, expected: Array) -> tuple[str, float] | None:
    """Return what a wrong result has in common with the right one, with a number, or None."""
    if not np.isfinite(got).all():
        return ("infinite", 0.0)
    if got.size > 2 and np.allclose(np.sort(got, axis=None), np.sort(expected, axis=None), atol=1e-9):
        return ("places", 0.0)
    if expected.any() and got.size > 1:
        ratio = float(np.vdot(got, expected) / np.vdot(expected, expected))
        if abs(ratio - 1) > 1e-6 and abs(ratio) > 1e-9 and np.allclose(got, ratio * expected, atol=1e-9):
            return ("ratio", ratio)
    if got.ndim > 1 and got.shape[1] >= 1:
        away = got - expected
        axes = tuple(axis for axis in range(got.ndim) if axis != 1)
        if got.size > got.shape[1] and np.allclose(away, away.mean(axis=axes, keepdims=True), atol=1e-9):
            return ("bias", 0.0)
    return None
