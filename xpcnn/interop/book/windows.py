"""im2col and col2im in the book's layout, a window a row (``common/util.py``, section 7.4.2)."""

from typing import Any

from xpcnn import ops
from xpcnn.backend import Array, check_array
from xpcnn.errors import ShapeError
from xpcnn.geometry import Window


def im2col(input_data: Array, filter_h: int, filter_w: int, stride: int = 1, pad: int = 0) -> Array:
    """Copy every window into a row: (N,C,H,W) -> (N*OH*OW, C*FH*FW), the transpose of `ops.im2col`.

    The book's is always float64; this one has the dtype of `input_data`.

    Raises
    ------
    ShapeError
        For other than four axes, or a window that fits nowhere.

    >>> import numpy as np
    >>> im2col(np.arange(6.0).reshape(1, 1, 2, 3), 2, 2)
    array([[0., 1., 3., 4.],
           [1., 2., 4., 5.]])
    """
    check_array(input_data, "im2col")
    if input_data.ndim != 4:
        raise ShapeError(f"im2col: expected (N, C, H, W), got {input_data.shape}; reshape it")
    cols = ops.im2col(input_data, Window((filter_h, filter_w), stride, pad))  # (C, FH, FW, N, OH, OW)
    return cols.transpose(3, 4, 5, 0, 1, 2).reshape(-1, input_data.shape[1] * filter_h * filter_w)


def col2im(
    col: Array, input_shape: tuple[Any, ...], filter_h: int, filter_w: int, stride: int = 1, pad: int = 0
) -> Array:
    """Adjoint of im2col: add every row back onto the pixels it came from, (N*OH*OW, C*FH*FW) -> `input_shape`.

    The book's is always float64; this one has the dtype of `col`.

    Raises
    ------
    ShapeError
        For a `col` that im2col would not give for `input_shape`.
    """
    check_array(col, "col2im")
    N, C, H, W = input_shape
    window = Window((filter_h, filter_w), stride, pad)
    OH, OW = window.output_size(H, W)
    if col.size != N * OH * OW * C * filter_h * filter_w:
        raise ShapeError(
            f"col2im: expected {(N * OH * OW, C * filter_h * filter_w)} for images of {tuple(input_shape)}, got "
            f"{col.shape}; pass the shape that im2col was given"
        )
    windows = col.reshape(N, OH, OW, C, filter_h, filter_w)
    return ops.col2im(windows.transpose(3, 4, 5, 0, 1, 2), (H, W), window)
