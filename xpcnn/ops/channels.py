"""Whole channels: a factor and a bias for each, and channels of zeros appended."""

from xpcnn.backend import Array, accelerated, xp
from xpcnn.kernels.precision import in_single
from xpcnn.ops.normalization import channel_sums, per_channel


@accelerated
@in_single
def channel_scale(x: Array, weight: Array, bias: Array) -> Array:
    """y[n, c, ...] = weight[c] x[n, c, ...] + bias[c]: (N,C,...) -> (N,C,...)."""
    return x * per_channel(weight, x.ndim) + per_channel(bias, x.ndim)


@accelerated
@in_single
def channel_scale_backward(
    dy: Array, x: Array, weight: Array, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """Return (dx, dweight, dbias): dx = weight dy, dweight = sum dy x, dbias = sum dy, over all but channels."""
    dx = dy * per_channel(weight, x.ndim) if need_dx else None
    return dx, channel_sums(dy * x), channel_sums(dy)


@accelerated
def pad_channels(x: Array, extra: int) -> Array:
    """Append `extra` channels of zeros to those of x: (N,C,...) -> (N,C+extra,...)."""
    return xp.pad(x, [(0, 0), (0, extra), *[(0, 0)] * (x.ndim - 2)])
