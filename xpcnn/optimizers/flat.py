"""The flat buffers of an optimizer: all parameters in one array, all gradients in another."""

import math
from collections.abc import Sequence
from typing import Any

from xpcnn.backend import Array, xp
from xpcnn.layers import Parameter

ALIGNMENT = 128
"""Bytes: each parameter begins at a multiple of this, so kernels load it as fast as an array of its own."""


class FlatBuffers:
    """Two flat arrays, and the parameters that are views of them, in order; zeros fill the gaps between them."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.spans: list[slice] = []
        dtype, begin = parameters[0]._data.dtype, 0
        for parameter in parameters:
            stop = begin + math.prod(parameter._data.shape)
            self.spans.append(slice(begin, stop))
            begin = -(-stop * dtype.itemsize // ALIGNMENT) * ALIGNMENT // dtype.itemsize
        self.data, self.grad = aligned_zeros(begin, dtype), aligned_zeros(begin, dtype)
        self._views = []
        for parameter, span in zip(parameters, self.spans, strict=True):
            shape = parameter._data.shape
            data, grad = self.data[span].reshape(shape), self.grad[span].reshape(shape)
            data[...], grad[...] = parameter._data, parameter._grad
            parameter.bind(data, grad)
            self._views.append((parameter, data, grad))

    @property
    def current(self) -> bool:
        """Whether nobody has put other arrays into the parameters since."""
        for parameter, data, grad in self._views:
            if parameter._data is not data or parameter._grad is not grad:
                return False
        return True

    def packed(self, flat: Array) -> Array:
        """Return a copy of a flat array without its gaps."""
        return without_gaps(flat, self.spans)

    def unpack(self, packed: Array, flat: Array) -> None:
        """Write what `packed` returned into a flat array."""
        first = 0
        for span in self.spans:
            length = span.stop - span.start
            flat[span] = packed[first : first + length]
            first += length


def aligned_zeros(length: int, dtype: Any) -> Array:
    """Return a flat array of zeros whose address is a multiple of `ALIGNMENT`; that of NumPy's own is not always."""
    room = xp.zeros(length + ALIGNMENT // dtype.itemsize, dtype)
    where = getattr(room, "__array_interface__", None) or getattr(room, "__cuda_array_interface__", None)
    first = -where["data"][0] % ALIGNMENT // dtype.itemsize if where else 0
    return room[first : first + length]


def without_gaps(flat: Array, spans: Sequence[slice]) -> Array:
    """Return these pieces of a flat array as one."""
    return flat[spans[0]] if len(spans) == 1 else xp.concatenate([flat[span] for span in spans])
