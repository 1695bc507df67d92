"""Data that is read a batch at a time: any object with ``len`` and ``[]``, such as an HDF5 array or a list of files.

NumPy arrays, memory maps included, are used as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xpcnn.data.labels import check_host_array
from xpcnn.errors import DatasetError


class Rows:
    """An object with ``len(rows)`` and ``rows[i]`` behind the part of an array's interface that batches need.

    Each element must have the shape and dtype of the first. A slice or an array of indices reads these elements;
    `take` reads nothing yet.
    """

    def __init__(self, rows: Any, order: NDArray[np.integer] | None = None) -> None:
        self.rows, self.order = rows, np.arange(len(rows)) if order is None else order
        first = np.asarray(rows[0]) if len(rows) else np.zeros(0, np.float32)
        self.shape, self.dtype, self.ndim = (len(self.order), *first.shape), first.dtype, first.ndim + 1

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        if np.ndim(index) == 0 and not isinstance(index, slice):
            return self._read(self.order[index])
        read = [self._read(i) for i in self.order[index]]
        return np.stack(read) if read else np.empty((0, *self.shape[1:]), self.dtype)

    def take(self, index: Any) -> Rows:
        """Return the rows with these indices, unread."""
        return Rows(self.rows, self.order[index])

    def _read(self, i: int) -> NDArray[Any]:
        row = np.asarray(self.rows[int(i)])
        if (row.shape, row.dtype) != (self.shape[1:], self.dtype):
            raise DatasetError(
                f"data: expected every element to be {self.dtype} {self.shape[1:]} like the first one, got {row.dtype} "
                f"{row.shape} at index {i}; resize or convert it"
            )
        return row


Arrays: TypeAlias = NDArray[Any] | Rows | tuple[NDArray[Any] | Rows, ...]
"""One array, or a tuple of them: several inputs, several targets."""


def as_rows(value: Any, expected: str) -> Any:
    """Return an array, or `Rows` of any other object that has len and [].

    Raises
    ------
    DtypeError
        Beginning with `expected`: for lists, arrays of a device, and objects without len and [].
    """
    if isinstance(value, Rows) or is_sequence(value):
        return value if isinstance(value, Rows) else Rows(value)
    check_host_array(value, expected, axes=1)
    return value


def is_sequence(value: Any) -> bool:
    """Tell whether an object has len and [], and is neither NumPy's, a device's nor Python's own."""
    known = isinstance(value, (np.ndarray, np.generic, str, bytes, list, tuple, dict, set, range, type))
    on_device = hasattr(type(value), "get")  # CuPy's arrays have it
    return not known and not on_device and hasattr(value, "__len__") and hasattr(value, "__getitem__")


def parts(value: Any) -> tuple[Any, ...]:
    """Return the arrays of several inputs or targets, or the one that there is.

    >>> parts((1, 2)), parts(3)
    ((1, 2), (3,))
    """
    return value if isinstance(value, tuple) else (value,)


def each(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply a function to an array, or to each array of a tuple.

    >>> each(abs, -1), each(abs, (-1, 2))
    (1, (1, 2))
    """
    return tuple(map(function, value)) if isinstance(value, tuple) else function(value)
