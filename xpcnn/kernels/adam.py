"""Adam's bias correction, out of the loop over elements: what every backend's kernel of the update begins with."""

import math


def corrected(lr: float, betas: tuple[float, float], eps: float, t: int) -> tuple[float, float]:
    """Return the step and the eps with which moments need no correction of their own at time t.

        lr mhat / (sqrt(vhat) + eps) = step m / (sqrt(v) + eps')        mhat = m / (1 - beta1^t), vhat alike
        step = lr c / (1 - beta1^t)        eps' = c eps        c = sqrt(1 - beta2^t)

    Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, end of section 2.
    """
    beta1, beta2 = betas
    correction = math.sqrt(1 - beta2**t)
    return lr * correction / (1 - beta1**t), eps * correction
