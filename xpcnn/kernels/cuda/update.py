"""The updates of the optimizers, each in one launch over the flat buffers.

Gradients and state are `real`: in single precision for parameters in half.
"""

from typing import Any

from xpcnn.kernels.adam import corrected
from xpcnn.kernels.cuda.launch import Device
from xpcnn.kernels.precision import computing


def sgd_update(device: Device, theta: Any, g: Any, lr: float) -> None:
    """Substitute for `xpcnn.ops.sgd_update`."""
    _update(device, "sgd_update", theta, g, lr=lr)


def momentum_update(device: Device, theta: Any, g: Any, velocity: Any, lr: float, momentum: float) -> None:
    """Substitute for `xpcnn.ops.momentum_update`."""
    _update(device, "momentum_update", theta, g, velocity=velocity, lr=lr, momentum=momentum)


def adam_update(
    device: Device,
    theta: Any,
    g: Any,
    mean: Any,
    squares: Any,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    t: int,
) -> None:
    """Substitute for `xpcnn.ops.adam_update`."""
    (beta1, beta2), (step, eps) = betas, corrected(lr, betas, eps, t)
    numbers = {"beta1": beta1, "beta2": beta2, "rest1": 1 - beta1, "rest2": 1 - beta2}
    _update(device, "adam_update", theta, g, mean=mean, squares=squares, step=step, eps=eps, **numbers)


def _update(device: Device, kernel: str, theta: Any, g: Any, **state_and_numbers: Any) -> None:
    g = g.astype(computing(g.dtype), copy=False)
    device.launch(kernel, theta.size, theta=theta, g=g, size=theta.size, **state_and_numbers)
