"""Adam's bias correction outside of the loop over elements, for the update kernels of every backend."""

import math


def corrected(lr: float, betas: tuple[float, float], eps: float, t: int) -> tuple[float, float]:
    """Return the step and the eps that include the corrections of both moments at time t.

        lr mhat / (sqrt(vhat) + eps) = step m / (sqrt(v) + eps')
        mhat = m / (1 - beta1^t)        vhat = v / (1 - beta2^t)
        step = lr c / (1 - beta1^t)        eps' = c eps        c = sqrt(1 - beta2^t)

    Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, end of section 2.
    """
    beta1, beta2 = betas
    correction = math.sqrt(1 - beta2**t)
    return lr * correction / (1 - beta1**t), eps * correction
