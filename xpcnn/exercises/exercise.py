"""What an exercise is: two functions to write, cases to try them on, and what is known of the right answer."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from xpcnn.backend import Array

Function = Callable[..., Any]


ADJOINT = "<f(e), dy> = <e, dx> for every unit array e"


class Case(NamedTuple):
    """Arguments for one call: arrays by name, then numbers by name."""

    arrays: Mapping[str, Array]
    numbers: Mapping[str, Any]

    def __str__(self) -> str:
        shapes = [f"{name} {array.shape}" for name, array in self.arrays.items()]
        return ", ".join([*shapes, *(f"{name}={value}" for name, value in self.numbers.items())])


class Difference(NamedTuple):
    """The element at which a result is furthest from what it should be."""

    name: str
    place: tuple[int, ...]
    got: float
    expected: float
    wrong: int
    size: int


class Exercise(NamedTuple):
    """One exercise. All arrays are float64, labels integers.

    `forward` is called with a case's arrays and numbers; it returns an array, or the loss. `backward` is called
    with dy first (but for a loss), then what `saved` returns, and returns one gradient for each of `gradients`.
    """

    name: str
    forward: str
    backward: str
    gradients: Mapping[str, str]
    """The gradients' names, each with the name of the array that it belongs to."""
    draw: Callable[[np.random.Generator], list[Case]]
    saved: Callable[[Case], tuple[Any, ...]]
    textbook: Callable[[Case], Array]
    textbook_backward: Callable[[Case, Array], tuple[Any, ...]]
    identity: Callable[[Case, Function, Mapping[str, Array], Array], Difference | None]
    """Takes the case, the reader's forward, the reader's gradients by name, and dy."""
    formula: str
    """The identity, for the report."""
    variants: Mapping[str, Callable[[Case], Array]] = {}
    """Forwards that are wrong in a known way, by a key of `report.WORDS`."""
    more: Mapping[str, Callable[[Case], tuple[tuple[Any, ...], Array]]] = {}
    """Other functions to write: each with a case's arguments for it, and the right answer."""

    @property
    def functions(self) -> tuple[str, ...]:
        return (*self.more, self.forward, self.backward)


def difference(name: str, got: Array, expected: Array, tolerance: float = 1e-6) -> Difference | None:
    """Return where two arrays of one shape differ most, or None if they agree.

    They agree where |got - expected| <= tolerance max(1, largest |expected|). A NaN agrees with nothing.
    """
    distance = np.abs(got - expected)
    distance = np.where(np.isnan(distance), np.inf, distance)
    wrong = distance > tolerance * max(1.0, float(np.abs(expected).max(initial=0)))
    if not wrong.any():
        return None
    index = tuple(int(i) for i in np.unravel_index(int(distance.argmax()), distance.shape))
    return Difference(name, index, float(got[index]), float(expected[index]), int(wrong.sum()), wrong.size)


def adjoint(*names: str, zero: tuple[str, ...] = ()) -> Callable[..., Difference | None]:
    """Return the identity of a forward f that is linear in some of its arrays when those of `zero` are 0.

    <f(e), dy> = <e, dx>    for every unit array e in the place of x

    """

    def identity(
        case: Case, forward: Function, gradients: Mapping[str, Array], dy: Array
    ) -> Difference | None:
        arrays = {**case.arrays, **{bias: np.zeros_like(case.arrays[bias]) for bias in zero}}
        for gradient, name in zip(gradients, case.arrays, strict=False):
            if name not in names:
                continue
            expected = np.zeros_like(case.arrays[name])
            for index in np.ndindex(expected.shape):
                unit = np.zeros_like(expected)
                unit[index] = 1
                expected[index] = np.vdot(forward(Case({**arrays, name: unit}, case.numbers)), dy)
            if (found := difference(gradient, gradients[gradient], expected)) is not None:
                return found
        return None

    return identity
