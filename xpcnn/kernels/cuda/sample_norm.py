"""Group and layer normalisation: a warp a row; one launch forward, two backward."""

import math
from typing import Any

from xpcnn.kernels.cuda.launch import Device
from xpcnn.kernels.precision import computing

WARP = 32


def group_norm(device: Device, x: Any, weight: Any, bias: Any, groups: int, eps: float) -> Any:
    """Substitute for `xpcnn.ops.group_norm`."""
    return _forward(device, x, weight, bias, eps, _of_groups(x, groups))


def group_norm_backward(
    device: Device, dy: Any, x: Any, weight: Any, groups: int, eps: float
) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.group_norm_backward`."""
    return _backward(device, dy, x, weight, eps, _of_groups(x, groups))


def layer_norm(device: Device, x: Any, weight: Any, bias: Any, eps: float) -> Any:
    """Substitute for `xpcnn.ops.layer_norm`."""
    return _forward(device, x, weight, bias, eps, _of_samples(x, weight))


def layer_norm_backward(device: Device, dy: Any, x: Any, weight: Any, eps: float) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.layer_norm_backward`."""
    return _backward(device, dy, x, weight, eps, _of_samples(x, weight))


def _of_groups(x: Any, groups: int) -> dict[str, int]:
    """Return the lengths for the kernels: R rows of L values, C channels of P pixels."""
    C, P = x.shape[1], math.prod(x.shape[2:])
    return {"R": len(x) * groups, "L": C * P // groups, "C": C, "P": P}


def _of_samples(x: Any, weight: Any) -> dict[str, int]:
    return {"R": x.size // max(weight.size, 1), "L": weight.size, "C": weight.size, "P": 1}


def _forward(device: Device, x: Any, weight: Any, bias: Any, eps: float, sizes: dict[str, int]) -> Any:
    x, weight, bias = device.contiguous(x, weight, bias)
    y = device.xp.empty(x.shape, x.dtype)
    device.launch("sample_norm", WARP * sizes["R"], x=x, weight=weight, bias=bias, y=y, eps=eps, **sizes)
    return y


def _backward(
    device: Device, dy: Any, x: Any, weight: Any, eps: float, sizes: dict[str, int]
) -> tuple[Any, Any, Any]:
    dy, x, weight = device.contiguous(dy, x, weight)
    empty, real = device.xp.empty, computing(x.dtype)
    dx, mean, inverse = empty(x.shape, x.dtype), empty(sizes["R"], real), empty(sizes["R"], real)
    dweight, dbias = empty(weight.shape, real), empty(weight.shape, real)
    given = {"dy": dy, "x": x, "mean": mean, "inverse": inverse, **sizes}
    device.launch("sample_norm_backward", WARP * sizes["R"], **given, weight=weight, dx=dx, eps=eps)
    lanes = WARP if sizes["P"] > 1 else 1
    given |= {"lanes": lanes, "N": x.size // max(sizes["C"] * sizes["P"], 1)}
    device.launch("sample_norm_parameters", lanes * sizes["C"], **given, dweight=dweight, dbias=dbias)
    return dx, dweight.astype(x.dtype, copy=False), dbias.astype(x.dtype, copy=False)
