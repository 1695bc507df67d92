"""What CuPy refuses as an operand: host arrays and lists, which it never uploads on its own."""

from typing import Any, TypeAlias

import numpy as np

Host: TypeAlias = np.ndarray


class OnDevice:
    """What lives on the simulated device: a NumPy array that nobody outside of the simulation touches."""

    __slots__ = ("__weakref__", "_host")

    _host: Host


def to_hosts(value: Any, call: str) -> Any:
    """Return the arguments of a call with NumPy's arrays in place of the device's, in tuples and lists too.

    Raises
    ------
    TypeError
        For an array of the host's among them; NumPy's scalars are numbers, and pass.
    """
    if isinstance(value, OnDevice):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(
            f"{call}: Unsupported type <class 'numpy.ndarray'>: an array of the host's, {value.dtype.name} "
            f"{value.shape}, where CuPy takes arrays of the device; pass to_device(x)"
        )
    if type(value) in (tuple, list):
        return type(value)(to_hosts(item, call) for item in value)
    return value


def refuse_sequence(value: Any, call: str) -> None:
    """Raise a TypeError for a list or a tuple where CuPy wants an array."""
    if isinstance(value, list | tuple):
        raise TypeError(
            f"{call}: Unsupported type {type(value)}: CuPy takes arrays and scalars; pass to_device(x)"
        )


def arrays_in(value: Any) -> list[OnDevice]:
    """Return the device arrays among arguments, in tuples, lists and dictionaries too."""
    if isinstance(value, OnDevice):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return [array for item in value for array in arrays_in(item)]
    return []


def numbers_in(value: Any) -> list[Any]:
    """Return Python's and NumPy's numbers among arguments, in slices, tuples, lists and dictionaries too."""
    if isinstance(value, (int, float, complex, np.generic)):
        return [value]
    if isinstance(value, slice):
        value = value.start, value.stop, value.step
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        return [number for item in value if item is not None for number in numbers_in(item)]
    return []


def to_hosts_by_name(kwargs: dict[str, Any], call: str) -> dict[str, Any]:
    """Return keyword arguments with NumPy's arrays in place of the device's."""
    return {name: to_hosts(value, f"{call}: {name}") for name, value in kwargs.items()}
