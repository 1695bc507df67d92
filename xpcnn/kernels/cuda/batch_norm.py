"""Batch normalisation: a block a channel for statistics and sums, a thread an element for the rest."""

import math
from typing import Any

from xpcnn.kernels.cuda.launch import THREADS, Device
from xpcnn.kernels.precision import computing


def batch_statistics(device: Device, x: Any) -> tuple[Any, Any]:
    """Substitute for `xpcnn.ops.batch_statistics`, by Welford's method in one pass."""
    (x,) = device.contiguous(x)
    sizes = _sizes(x)
    mean, variance = (device.xp.empty(sizes["C"], computing(x.dtype)) for _ in range(2))
    device.launch("batch_statistics", THREADS * sizes["C"], x=x, mean=mean, variance=variance, **sizes)
    return mean, variance


def batch_norm(device: Device, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, eps: float) -> Any:
    """Substitute for `xpcnn.ops.batch_norm`."""
    x, weight, bias, mean, variance = device.contiguous(x, weight, bias, *_in_real(x, mean, variance))
    y = device.xp.empty(x.shape, x.dtype)
    parameters = {"weight": weight, "bias": bias, "mean": mean, "variance": variance, "eps": eps}
    device.launch("batch_norm", x.size, x=x, y=y, **parameters, **_sizes(x))
    return y


def batch_norm_backward(
    device: Device, dy: Any, x: Any, weight: Any, mean: Any, variance: Any, eps: float, of_batch: bool
) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.batch_norm_backward`."""
    dy, x, weight, mean, variance = device.contiguous(dy, x, weight, *_in_real(x, mean, variance))
    sizes, dx = _sizes(x), device.xp.empty(x.shape, x.dtype)
    dweight, dbias = (device.xp.empty(sizes["C"], computing(x.dtype)) for _ in range(2))
    common = dict(dy=dy, x=x, mean=mean, variance=variance, dweight=dweight, dbias=dbias, eps=eps, **sizes)
    device.launch("batch_norm_sums", THREADS * sizes["C"], **common)
    per_value = sizes["C"] / x.size if of_batch and x.size else 0.0
    device.launch("batch_norm_dx", x.size, **common, weight=weight, dx=dx, per_value=per_value)
    return dx, dweight.astype(x.dtype, copy=False), dbias.astype(x.dtype, copy=False)


def _in_real(x: Any, *statistics: Any) -> list[Any]:
    """Return statistics in the dtype of sums over x: the running ones of a model in half are in half."""
    return [values.astype(computing(x.dtype), copy=False) for values in statistics]


def _sizes(x: Any) -> dict[str, int]:
    return {"N": x.shape[0], "C": x.shape[1], "P": math.prod(x.shape[2:])}
