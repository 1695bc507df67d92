"""More pixels from few: each one repeated, or straight lines between them."""

from typing import Any

from xpcnn.backend import Array, accelerated, xp
from xpcnn.kernels.precision import computing


@accelerated
def upsample_nearest(x: Array, scale: tuple[int, int]) -> Array:
    """Repeat every pixel: y[n, c, p, q] = x[n, c, p // SH, q // SW], (N,C,H,W) -> (N,C,SH*H,SW*W)."""
    return xp.repeat(xp.repeat(x, scale[0], axis=2), scale[1], axis=3)


@accelerated
def upsample_nearest_backward(dy: Array, scale: tuple[int, int]) -> Array:
    """dx = the sum of dy over the copies of a pixel."""
    (N, C, OH, OW), (SH, SW) = dy.shape, scale
    return dy.reshape(N, C, OH // SH, SH, OW // SW, SW).sum(axis=(3, 5))


@accelerated
def upsample_bilinear(x: Array, scale: tuple[int, int]) -> Array:
    """Draw straight lines between the centres of pixels, down and across: (N,C,H,W) -> (N,C,SH*H,SW*W).

        y = R x C^T        pixel p of y lies at (p + 1/2) / S - 1/2 of x, between two of its pixels

    R (SH*H,H) and C (SW*W,W) hold the two shares of each row. This is what others call align_corners=False.
    """
    rows, columns = (_shares(length, s, x.dtype) for length, s in zip(x.shape[2:], scale, strict=True))
    return rows @ (x @ columns.T)


@accelerated
def upsample_bilinear_backward(dy: Array, scale: tuple[int, int]) -> Array:
    """dx = R^T dy C: every pixel gets its shares back."""
    rows, columns = (_shares(length // s, s, dy.dtype) for length, s in zip(dy.shape[2:], scale, strict=True))
    return rows.T @ (dy @ columns)


def _shares(length: int, scale: int, dtype: Any) -> Array:
    """Return what share of each pixel of a row goes into each of `scale` times as many: (scale*length, length)."""
    wide = computing(dtype)
    place = xp.maximum((xp.arange(scale * length, dtype=wide) + 0.5) / scale - 0.5, 0)
    pixel = xp.arange(length, dtype=wide)
    return xp.maximum(1 - xp.abs(xp.minimum(place, length - 1)[:, None] - pixel), 0).astype(dtype)
