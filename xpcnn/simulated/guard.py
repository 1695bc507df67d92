"""The operands of a call: host arrays and lists are refused, as CuPy never uploads them by itself."""

import threading
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

Host: TypeAlias = np.ndarray

DEVICES = 2
"""How many devices are simulated: a second one finds arrays that are used on another device than their own."""


class _Current(threading.local):
    number = 0


_current = _Current()
"""The device on which this thread allocates and launches, as CUDA has it."""


def select_device(number: int) -> int:
    """Make a device the calling thread's current one, and return the previous one's number."""
    previous, _current.number = _current.number, number
    return previous


class OnDevice:
    """An array on a simulated device: its values are a NumPy array that only the simulation touches."""

    __slots__ = ("__weakref__", "_device", "_host")

    _host: Host
    _device: int

    def __init__(self, host: Any) -> None:
        self._host, self._device = np.asarray(host), _current.number


def to_hosts(value: Any, call: str) -> Any:
    """Return arguments with NumPy's arrays in place of the device's, in tuples, lists and dictionaries too.

    A TypeError for a host array among them (NumPy's scalars are numbers, and pass), a ValueError for an array of
    another device than the current one.
    """
    if isinstance(value, OnDevice):
        if value._device != _current.number:
            raise ValueError(
                f"{call}: Array device must be same as the current device: array device = {value._device} while "
                f"current = {_current.number}; pass to_device(to_host(x))"
            )
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(
            f"{call}: Unsupported type <class 'numpy.ndarray'>: a host array, {value.dtype.name} {value.shape}, "
            "where CuPy takes arrays of the device; pass to_device(x)"
        )
    if type(value) in (tuple, list):
        return type(value)(to_hosts(item, call) for item in value)
    if type(value) is dict:
        return {name: to_hosts(item, f"{call}: {name}") for name, item in value.items()}
    return value


def refuse_sequence(value: Any, call: str) -> None:
    """Raise a TypeError for a list or a tuple where CuPy expects an array."""
    if isinstance(value, list | tuple):
        raise TypeError(
            f"{call}: Unsupported type {type(value)}: CuPy takes arrays and scalars; pass to_device(x)"
        )


def refuse_keywords(call: str, given: dict[str, Any], known: set[str]) -> None:
    """Raise a TypeError for a keyword that CuPy's function lacks, though its signature says ``**kwargs``."""
    if unknown := sorted(set(given) - known):
        raise TypeError(
            f"cupy.{call}: Wrong arguments, unexpected keyword argument {unknown}: CuPy has {', '.join(sorted(known))}"
        )


def arrays_in(value: Any) -> list[OnDevice]:
    """Return the device arrays among arguments."""
    return [leaf for leaf in _leaves(value) if isinstance(leaf, OnDevice)]


def numbers_in(value: Any) -> list[Any]:
    """Return Python's and NumPy's numbers among arguments."""
    return [leaf for leaf in _leaves(value) if isinstance(leaf, (int, float, complex, np.generic))]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, slice):
        value = value.start, value.stop, value.step
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
