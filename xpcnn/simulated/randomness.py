"""What a program finds in `cupy.random`: numbers of the same distributions as CuPy's, but other numbers.

xpcnn draws on the host, or hashes a counter (`xpcnn.random`); this is here so that code which does not is seen.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from xpcnn.simulated import judge
from xpcnn.simulated.events import RANDOM, forbid
from xpcnn.simulated.guard import to_hosts
from xpcnn.simulated.results import on_device

DRAWS = {
    "rand": "random", "random": "random", "random_sample": "random", "sample": "random", "ranf": "random",
    "randn": "standard_normal", "standard_normal": "standard_normal", "normal": "normal", "uniform": "uniform",
    "randint": "integers", "permutation": "permutation", "choice": "choice",
}  # fmt: skip
"""CuPy's function, and the method of numpy.random.Generator that draws alike."""

_generators = [np.random.default_rng()]


class RandomModule(ModuleType):
    """Stands in for `cupy.random`."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        judge.real(f"random.{name}")
        if name == "seed":
            return seed
        if name not in DRAWS:
            raise AttributeError(f"cupy.random.{name} exists, but the simulated device lacks it")
        return _drawing(name, DRAWS[name])


def seed(seed: int | None = None) -> None:
    """Begin the stream again."""
    _generators[0] = np.random.default_rng(seed)


def _drawing(name: str, method: str) -> Callable[..., Any]:
    def draw(*args: Any, **kwargs: Any) -> Any:
        judge.bind(f"random.{name}", args, kwargs)
        forbid(f"random.{name}", RANDOM)
        dtype = kwargs.pop("dtype", None)
        if name in ("rand", "randn"):  # whose arguments are the shape
            args = (args,)
        drawn = np.asarray(getattr(_generators[0], method)(*to_hosts(args, name), **kwargs))
        return on_device(drawn if dtype is None else drawn.astype(dtype), f"random.{name}", [])

    return draw


stand_in = RandomModule("simulated.random")
