"""More pixels from few: each one repeated, or linear interpolation between them."""

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
    copies = dy.reshape(N, C, OH // SH, SH, OW // SW, SW)  # (N, C, OH, OW) -> (N, C, H, SH, W, SW)
    return copies.sum(axis=(3, 5))


@accelerated
def upsample_bilinear(x: Array, scale: tuple[int, int]) -> Array:
    """Interpolate linearly between pixel centres, along both axes: (N,C,H,W) -> (N,C,SH*H,SW*W).

        y = R x C^T        pixel p of y is at (p + 1/2) / S - 1/2 of x, between two of its pixels

    Each row of R (SH*H,H) and C (SW*W,W) has the weights of these two. Others call this align_corners=False.
    """
    R, C = (_interpolation(length, s, x.dtype) for length, s in zip(x.shape[2:], scale, strict=True))
    return R @ (x @ C.T)  # (SH*H, H) @ (N, C, H, W) @ (W, SW*W)


@accelerated
def upsample_bilinear_backward(dy: Array, scale: tuple[int, int]) -> Array:
    """dx = R^T dy C."""
    R, C = (_interpolation(length // s, s, dy.dtype) for length, s in zip(dy.shape[2:], scale, strict=True))
    return R.T @ (dy @ C)  # (H, SH*H) @ (N, C, SH*H, SW*W) @ (SW*W, W)


def _interpolation(length: int, scale: int, dtype: Any) -> Array:
    """Return the weight of each pixel of a row of `length` in each of `scale` times as many: (scale*length, length)."""
    wide = computing(dtype)
    place = xp.maximum((xp.arange(scale * length, dtype=wide) + 0.5) / scale - 0.5, 0)
    pixel = xp.arange(length, dtype=wide)
    return xp.maximum(1 - xp.abs(xp.minimum(place, length - 1)[:, None] - pixel), 0).astype(dtype)
