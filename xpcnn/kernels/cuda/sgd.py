"""The updates of the optimizers, each in one launch over the flat buffers.

Gradients and state are `real`, single for parameters in half precision.
"""

from typing import Any

from xpcnn.kernels.cuda.launch import Device
from xpcnn.kernels.precision import computing


def sgd_update(device: Device, theta: Any, g: Any, lr: float) -> None:
    """Substitute for `xpcnn.ops.sgd_update`."""
    device.launch("sgd_update", theta.size, theta=theta, g=_real(g), lr=lr, size=theta.size)


def momentum_update(device: Device, theta: Any, g: Any, velocity: Any, lr: float, momentum: float) -> None:
    """Substitute for `xpcnn.ops.momentum_update`."""
    device.launch(
        "momentum_update",
        theta.size,
        theta=theta,
        g=_real(g),
        velocity=velocity,
        lr=lr,
        momentum=momentum,
        size=theta.size,
    )


def _real(g: Any) -> Any:
    return g.astype(computing(g.dtype), copy=False)
