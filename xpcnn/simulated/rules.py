"""Rules written by hand: functions whose CuPy signature says too little, or that do not do what NumPy's do."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.lib import stride_tricks

from xpcnn.simulated.array import ndarray, uploaded
from xpcnn.simulated.calls import computed, on_device
from xpcnn.simulated.events import RANDOM, emit_dtype, forbid
from xpcnn.simulated.guard import Host, arrays_in, refuse_sequence, to_hosts
from xpcnn.simulated.launches import refuse_pending
from xpcnn.simulated.memory import allocated, poison

RULES: dict[str, Callable[..., Any]] = {}
"""By CuPy's dotted name; the arguments already bind CuPy's signature."""


def rule(path: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function into RULES under CuPy's name for it."""
    return lambda function: RULES.setdefault(path, function)


# ---- between host and device ------------------------------------------------------------------------------


@rule("asarray")
@rule("asanyarray")
def asarray(
    a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False
) -> ndarray:
    """Return an array of the device unchanged, and upload anything else."""
    if isinstance(a, ndarray):
        converted: ndarray = a.astype(a.dtype if dtype is None else dtype, order or "K", copy=bool(copy))
        return converted
    return _upload(a, dtype, order)


@rule("array")
def array(
    obj: Any, dtype: Any = None, copy: Any = True, order: Any = "K", subok: bool = False, ndmin: int = 0,
    *, blocking: bool = False,
) -> ndarray:  # fmt: skip
    """Return a copy on the device."""
    made: ndarray = asarray(obj, dtype, order, copy=copy)
    return made[(None,) * (ndmin - made.ndim)] if made.ndim < ndmin else made


@rule("ascontiguousarray")
def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    """Return an array of the device in C order; the array itself if it has that."""
    made: ndarray = computed("ascontiguousarray", partial(np.asarray, order="C"), (a, dtype), {})
    return made


@rule("asnumpy")
def asnumpy(a: Any, stream: Any = None, order: Any = "C", out: Any = None, *, blocking: bool = True) -> Host:
    """Download an array of the device; convert anything else on the host."""
    if isinstance(a, ndarray):
        return a.get(stream, order, out, blocking)
    return np.asarray(a, order=order)


def _upload(value: Any, dtype: Any, order: Any) -> ndarray:
    if arrays_in(value):
        raise TypeError("array: a list of device arrays; use xp.stack, which says what it does")
    if isinstance(value, Host):
        refuse_pending(value, "asarray")
    host = np.array(value, dtype)
    if host.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {host.dtype}")
    fortran = order == "F" or (order in (None, "K", "A") and host.flags.fnc)
    return uploaded(np.asarray(host, order="F" if fortran else "C"), "asarray")


# ---- memory without values ----------------------------------------------------------------------------------


@rule("empty")
def empty(shape: Any, dtype: Any = float, order: Any = "C") -> ndarray:
    """Return new memory filled with poison: NaN, or the integer of which every bit is set."""
    return _poisoned(np.empty(shape, dtype, order), "empty")


@rule("empty_like")
def empty_like(
    prototype: ndarray, dtype: Any = None, order: Any = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    """Return poisoned memory like another array's."""
    host = to_hosts(prototype, "empty_like")
    return _poisoned(np.empty_like(host, dtype, order, shape=shape), "empty_like")


def _poisoned(host: Host, call: str) -> ndarray:
    emit_dtype(call, host.dtype)
    return ndarray(poison(allocated(call, host)))


# ---- keywords that the signature does not name -------------------------------------------------------------


PAD_KEYWORDS = {
    "constant": {"constant_values"}, "edge": set(), "empty": set(), "linear_ramp": {"end_values"},
    "maximum": {"stat_length"}, "mean": {"stat_length"}, "minimum": {"stat_length"},
    "reflect": {"reflect_type"}, "symmetric": {"reflect_type"}, "wrap": set(),
}  # fmt: skip


@rule("pad")
def pad(array: ndarray, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    """Return NumPy's pad; CuPy has no mode "median", and takes no arrays for widths and values."""
    if isinstance(mode, str) and mode not in PAD_KEYWORDS:
        raise ValueError(f"pad: mode '{mode}' is not supported by CuPy")
    if isinstance(mode, str) and (unknown := set(kwargs) - PAD_KEYWORDS[mode]):
        raise ValueError(f"pad: unsupported keyword arguments for mode '{mode}': {unknown}")
    if arrays_in((pad_width, kwargs)):
        raise TypeError("pad: widths and values are host numbers; you cannot specify cupy.ndarray")
    refuse_sequence(array, "pad")
    host = to_hosts(array, "pad")
    padded = np.pad(host, pad_width, mode, **to_hosts(kwargs, "pad"))
    return on_device(padded, "pad", [], keeps_order=True, given=(array, pad_width, kwargs))


@rule("meshgrid")
def meshgrid(*xi: Any, **kwargs: Any) -> Any:
    """Return NumPy's meshgrid, as a list."""
    return computed("meshgrid", lambda *given, **named: list(np.meshgrid(*given, **named)), xi, kwargs)


# ---- views in which one element appears several times -------------------------------------------------------


@rule("lib.stride_tricks.sliding_window_view")
def sliding_window_view(
    x: ndarray, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> ndarray:
    """Return every window, a view that must not be written to; CuPy allows it."""
    return ndarray(stride_tricks.sliding_window_view(to_hosts(x, "sliding_window_view"), window_shape, axis))


@rule("lib.stride_tricks.as_strided")
def as_strided(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
    """Return the same memory under other strides, not to be written to; and within bounds, which CuPy never checks."""
    host = to_hosts(x, "as_strided")
    shape, strides = host.shape if shape is None else shape, host.strides if strides is None else strides
    reach = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    owned = sum((length - 1) * stride for length, stride in zip(host.shape, host.strides, strict=True))
    if any(stride < 0 for stride in (*strides, *host.strides)) or (0 not in shape and reach > owned):
        raise ValueError(
            f"as_strided: shape {shape} with strides {strides} reaches beyond the array; CuPy would read on"
        )
    return ndarray(stride_tricks.as_strided(host, shape, strides, writeable=False))


# ---- cupy.random: CuPy's distributions, but other numbers. xpcnn itself draws on the host, or hashes a counter -

DRAWS = {
    "rand": "random", "random": "random", "random_sample": "random", "sample": "random", "ranf": "random",
    "randn": "standard_normal", "standard_normal": "standard_normal", "normal": "normal", "uniform": "uniform",
    "randint": "integers", "permutation": "permutation", "choice": "choice",
}  # fmt: skip
"""CuPy's function, and the method of numpy.random.Generator that draws from the same distribution."""

_generators = [np.random.default_rng()]


@rule("random.seed")
def seed(seed: int | None = None) -> None:
    """Begin the stream again."""
    _generators[0] = np.random.default_rng(seed)


def _drawing(name: str, method: str) -> Callable[..., Any]:
    def draw(*args: Any, **kwargs: Any) -> Any:
        forbid(f"random.{name}", RANDOM)
        dtype = kwargs.pop("dtype", None)
        if name in ("rand", "randn"):  # whose arguments are the shape
            args = (args,)
        drawn = np.asarray(getattr(_generators[0], method)(*to_hosts(args, name), **kwargs))
        return on_device(drawn if dtype is None else drawn.astype(dtype), f"random.{name}", [])

    return draw


for _name, _method in DRAWS.items():
    rule(f"random.{_name}")(_drawing(_name, _method))
