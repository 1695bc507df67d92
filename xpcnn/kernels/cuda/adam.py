"""Adam's update, in one launch over the flat buffers."""

from typing import Any

from xpcnn.kernels.adam import corrected
from xpcnn.kernels.cuda.launch import Device
from xpcnn.kernels.cuda.sgd import _real


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
    device.launch(
        "adam_update", theta.size, theta=theta, g=_real(g), mean=mean, squares=squares, size=theta.size,
        step=step, eps=eps,
        beta1=beta1, beta2=beta2, rest1=1 - beta1, rest2=1 - beta2,
    )  # fmt: skip
