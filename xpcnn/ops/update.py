"""Updates of parameters by an optimizer, in place: as ops, so that a backend can do each in one launch.

theta are the parameters, g the gradients, lr the learning rate. These are the only ops that write into arguments. If
theta is in half precision, the state (velocity, mean, squares) and the arithmetic are in single, and theta is rounded
once: in half an eps of 1e-8 is zero, and so is the square of a gradient of 1e-4.
"""

import math

from xpcnn.backend import Array, accelerated, xp
from xpcnn.kernels.precision import in_single


@accelerated
@in_single
def sgd_update(theta: Array, g: Array, lr: float) -> None:
    """theta -= lr g."""
    theta -= lr * g


@accelerated
@in_single
def momentum_update(theta: Array, g: Array, velocity: Array, lr: float, momentum: float) -> None:
    """v = momentum v - lr g;  theta += v."""
    velocity *= momentum
    velocity -= lr * g
    theta += velocity


@accelerated
@in_single
def adam_update(
    theta: Array,
    g: Array,
    mean: Array,
    squares: Array,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    t: int,
) -> None:
    """Step t of Adam, counted from 1; the corrections of both moments are in the step and in eps.

    m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2
    theta -= lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
    """
    beta1, beta2 = betas
    mean *= beta1
    mean += (1 - beta1) * g
    squares *= beta2
    squares += (1 - beta2) * g * g
    correction = math.sqrt(1 - beta2**t)
    step = lr * correction / (1 - beta1**t)
    theta -= step * mean / (xp.sqrt(squares) + eps * correction)
