"""The memory order of these kernels: (H,C,W,N), row after row of the image, and the whole batch for each pixel.

    one row of a batch of images, (C,W,N):

               pixel w = 0      w = 1              w = W-1
              n = 0 .. N-1 | n = 0 .. N-1 | ... | n = 0 .. N-1
        c = 0 [............|..............|     |.............]      W*N numbers
        c = 1 [............|..............|     |.............]
        ...

The KH rows that a window spans follow one another, so they are one matrix of KH*C by W*N without a copy. im2col need
not copy each pixel KH*KW times: KW times is enough, or none. The pixels of a batch at one position fill whole vectors.
"""

from math import prod
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def rows_first(images: Array) -> Array:
    """Return images (N,C,H,W) as contiguous (H,C,W,N): a view if their memory has that order, else a copy."""
    return np.ascontiguousarray(images.transpose(2, 1, 3, 0))


def as_images(rows: Array) -> Array:
    """Return (H,C,W,N) as a view of shape (N,C,H,W)."""
    return rows.transpose(3, 1, 0, 2)


def matrices(rows: Array, first: int, height: int, step: int, count: int, columns: slice) -> Array:
    """View `height` rows as one matrix, from row `first` on, `count` times every `step` rows.

    Returns (count, height*C, Q*N) of contiguous (H,C,W,N), Q = columns.stop - columns.start. Nothing is copied:
    the matrices overlap where step < height. (NumPy's as_strided takes far longer.)
    """
    _, C, W, N = rows.shape
    line = W * N * rows.itemsize
    shape = count, height * C, (columns.stop - columns.start) * N
    offset = first * C * line + columns.start * N * rows.itemsize
    return np.ndarray(shape, rows.dtype, rows, offset, (step * C * line, line, rows.itemsize))


def rows_of(x: Array) -> Array:
    """Return (N,C,...) as contiguous (H,C,W,N): W is the last axis, H all before it, 1 where there is none."""
    (N, C), (*rows, W) = x.shape[:2], x.shape[2:] or (1,)
    return rows_first(x.reshape(N, C, prod(rows), W))  # (N, C, H, W)


def in_shape(rows: Array, shape: tuple[int, ...]) -> Array:
    """Return (H,C,W,N) in the shape (N,C,...) that `rows_of` was given."""
    return as_images(rows).reshape(shape)


def in_memory_order(*arrays: Array) -> list[Array] | None:
    """Return arrays as flat views in the order of their memory; None where shapes or memory orders differ."""
    if any(array.shape != arrays[0].shape for array in arrays):
        return None
    order = sorted(range(arrays[0].ndim), key=lambda axis: -arrays[0].strides[axis])
    ordered = [array.transpose(order) for array in arrays]
    if not all(array.flags.c_contiguous for array in ordered):
        return None
    return [array.reshape(-1) for array in ordered]
