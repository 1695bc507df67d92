"""Exercises: write forward and backward of a layer yourself, and let three independent checks judge them.

`EXERCISES` names them; `write` puts a file with the functions to fill in on disk, `check` judges it:

1. textbook: both functions against `xpcnn.ops`, on small random cases;
2. identity: what must hold between the two whatever the textbook says, such as <f(e), dy> = <e, b(dy)> for every
   unit array e where f is linear;
3. differences: backward against central differences of the reader's own forward.

The last two know nothing of the textbook, so the report can say which of forward and backward is wrong.
``xpcnn exercise`` is the command.
"""

from xpcnn.exercises.checks import Mistake, Report, check
from xpcnn.exercises.exercise import Case, Exercise
from xpcnn.exercises.files import load, write
from xpcnn.exercises.matrices import AFFINE, BATCH_NORM, SOFTMAX
from xpcnn.exercises.report import LANGUAGES, text
from xpcnn.exercises.windows import CONV, IM2COL, POOLING

EXERCISES: dict[str, Exercise] = {
    exercise.name: exercise for exercise in (AFFINE, SOFTMAX, IM2COL, CONV, POOLING, BATCH_NORM)
}
"""By name, in the order of a first course."""

__all__ = [
    "EXERCISES",
    "LANGUAGES",
    "Case",
    "Exercise",
    "Mistake",
    "Report",
    "check",
    "load",
    "text",
    "write",
]
