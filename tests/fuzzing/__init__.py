"""Random calls of every substitute against the textbook: what a case is, how cases are drawn, how close is close.

`tests/kernels/test_fuzz.py` runs some thousands of them with a fixed seed, `tools/fuzz_kernels.py` as many as there is
time for.
"""

from fuzzing.case import Case, Integers, Reals
from fuzzing.comparison import KINDS, check, substitutes
from fuzzing.draws import DRAWS
from fuzzing.searching import program, search
from xpcnn.geometry import Window

__all__ = [
    "DRAWS",
    "KINDS",
    "Case",
    "Integers",
    "Reals",
    "Window",
    "check",
    "program",
    "search",
    "substitutes",
]
