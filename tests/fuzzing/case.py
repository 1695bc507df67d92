"""A case as plain data, whose repr is the code that makes it again; and the arrays that it stands for."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

ORDERS = ("C", "Fortran", "rows", "strided", "reversed", "broadcast")
"""The memory order of an array: "rows" is (H,C,W,N), the kernels' own, "broadcast" repeats its last axis."""

DEFAULT_WORKSPACE = 4 << 20


@dataclass(frozen=True)
class Reals:
    """An array of floating-point numbers, in the dtype of the case.

    `of` says which: "normal" N(0, 1); "integers" from -4 to 4 without 0, whose sums are exact; "shifted" N(3, 1);
    "positive" from 0.25 to 4; "distinct" no two equal; "rows" positive, each row with the sum 1; "one-hot" rows.
    """

    shape: tuple[int, ...]
    of: str = "normal"
    order: str = "C"
    state: bool = False
    """An optimizer's state: of parameters in half precision it is in single."""

    def build(self, rng: np.random.Generator, dtype: str) -> np.ndarray:
        dtype = "float32" if self.state and dtype == "float16" else dtype
        return lay(NUMBERS[self.of](rng, self.shape).astype(dtype), self.order)


@dataclass(frozen=True)
class Integers:
    """An array of integers from 0 up to, but not including, `below`."""

    shape: tuple[int, ...]
    below: int
    dtype: str = "int64"
    order: str = "C"

    def build(self, rng: np.random.Generator, dtype: str) -> np.ndarray:
        return lay(rng.integers(0, self.below, self.shape).astype(self.dtype), self.order)


@dataclass(frozen=True)
class Case:
    """One call of an op: its arguments, and what the kernels run under."""

    op: str
    arguments: tuple[Any, ...]
    dtype: str = "float32"
    seed: int = 0
    threads: int = 1
    workspace: int = DEFAULT_WORKSPACE
    """Bytes: XPCNN_WORKSPACE on NumPy, and those of the columns on CUDA."""
    long_positions: bool = False
    """On CUDA: positions of 64 bits, as arrays of more than 2^30 elements have them."""
    every_schedule: bool = False
    """On CUDA: the threads run in every order that the simulated device knows."""

    def build(self) -> list[Any]:
        """Return the arguments, with an array in the place of each description of one."""
        rng = np.random.default_rng(self.seed)
        return [a.build(rng, self.dtype) if isinstance(a, (Reals, Integers)) else a for a in self.arguments]

    @property
    def repeats(self) -> bool:
        """Whether an array holds one number again and again."""
        return any(a.order == "broadcast" for a in self.arguments if isinstance(a, Reals))

    @property
    def exact(self) -> bool:
        """Whether all numbers are small integers."""
        return all(a.of == "integers" for a in self.arguments if isinstance(a, Reals))


def _whole(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(1, 5, shape) * rng.choice((-1.0, 1.0), shape)


def _distinct(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return ((rng.permutation(prod(shape)) - prod(shape) // 2 + 0.5) / 8).reshape(shape)


def _rows(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = rng.uniform(0.1, 1, shape)
    return values / values.sum(axis=-1, keepdims=True)


NUMBERS = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "integers": _whole,
    "shifted": lambda rng, shape: 3 + rng.standard_normal(shape),
    "positive": lambda rng, shape: 2 ** rng.uniform(-2, 2, shape),
    "distinct": _distinct,
    "rows": _rows,
    "one-hot": lambda rng, shape: np.eye(shape[1])[rng.integers(0, shape[1], shape[0])],
}


def lay(array: np.ndarray, order: str) -> np.ndarray:
    """Return the array in one of `ORDERS`; only "broadcast" changes its numbers."""
    if order == "rows" and array.ndim == 4:
        return np.ascontiguousarray(array.transpose(2, 1, 3, 0)).transpose(3, 1, 0, 2)
    if order in ("Fortran", "rows"):
        return np.asfortranarray(array)
    if order == "strided":
        spread = np.full((*array.shape[:-1], 2 * array.shape[-1]), 77, array.dtype)
        spread[..., ::2] = array
        return spread[..., ::2]
    if order == "reversed":
        return np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    if order == "broadcast" and array.size:
        return np.broadcast_to(array[..., :1], array.shape)
    return np.ascontiguousarray(array)
