"""Batch normalisation: a block a channel for statistics and sums, a thread an element for the rest."""

import math
from typing import Any

from xpcnn.kernels.cuda.launch import THREADS, Device
from xpcnn.kernels.precision import computing


def batch_statistics(device: Device, x: Any) -> tuple[Any, Any]:
    """Substitute for `xpcnn.ops.batch_statistics`, by Welford's method in one pass."""
    (x,) = device.contiguous(x)
    known = _lengths(x)
    mean, variance = (device.xp.empty(known["C"], computing(x.dtype)) for _ in range(2))
    device.launch("batch_statistics", THREADS * known["C"], x=x, mean=mean, variance=variance, **known)
    return mean, variance


def batch_norm(device: Device, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, eps: float) -> Any:
    """Substitute for `xpcnn.ops.batch_norm`."""
    x, weight, bias, mean, variance = device.contiguous(x, weight, bias, *_wide(x, mean, variance))
    y = device.xp.empty(x.shape, x.dtype)
    device.launch(
        "batch_norm",
        x.size,
        x=x,
        weight=weight,
        bias=bias,
        mean=mean,
        variance=variance,
        y=y,
        eps=eps,
        **_lengths(x),
    )
    return y


def batch_norm_backward(
    device: Device, dy: Any, x: Any, weight: Any, mean: Any, variance: Any, eps: float, of_batch: bool
) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.batch_norm_backward`."""
    dy, x, weight, mean, variance = device.contiguous(dy, x, weight, *_wide(x, mean, variance))
    known = _lengths(x)
    dx = device.xp.empty(x.shape, x.dtype)
    dweight, dbias = (device.xp.empty(known["C"], computing(x.dtype)) for _ in range(2))
    common = dict(dy=dy, x=x, mean=mean, variance=variance, dweight=dweight, dbias=dbias, eps=eps, **known)
    device.launch("batch_norm_sums", THREADS * known["C"], **common)
    per_value = known["C"] / x.size if of_batch and x.size else 0.0
    device.launch("batch_norm_dx", x.size, **common, weight=weight, dx=dx, per_value=per_value)
    return dx, dweight.astype(x.dtype, copy=False), dbias.astype(x.dtype, copy=False)


def _wide(x: Any, *statistics: Any) -> list[Any]:
    """Return statistics in the precision of sums over x: running ones of a model in half are in half."""
    return [values.astype(computing(x.dtype), copy=False) for values in statistics]


def _lengths(x: Any) -> dict[str, int]:
    return {"N": x.shape[0], "C": x.shape[1], "P": math.prod(x.shape[2:])}
