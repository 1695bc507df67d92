"""Learning rates as functions of the step: ``optimizer.lr = schedule(step)``, steps counted from 0."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from xpcnn.errors import HyperparameterError
from xpcnn.errors.checks import function, is_whole, number, whole

Schedule: TypeAlias = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """Return a schedule that is always `lr`.

    >>> constant(0.1)(1000)
    0.1
    """
    _check_rate("constant", "lr", lr)
    return lambda step: lr


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """Multiply by `factor` once in `every` steps: lr factor^floor(step / every).

    >>> [round(step_decay(1.0, every=10)(s), 3) for s in (0, 9, 10, 20)]
    [1.0, 1.0, 0.1, 0.01]
    """
    _check_rate("step_decay", "lr", lr)
    _check_rate("step_decay", "factor", factor)
    _check_positive("step_decay", "every", every)
    return lambda step: lr * factor ** (step // every)


def cosine(lr: float, steps: int, final: float = 0.0) -> Schedule:
    """Fall along half a cosine: final + (lr - final) (1 + cos(pi step / steps)) / 2.

    Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5, without restarts.

    >>> [round(cosine(1.0, 100)(s), 3) for s in (0, 50, 100)]
    [1.0, 0.5, 0.0]
    """
    _check_rate("cosine", "lr", lr)
    _check_rate("cosine", "final", final)
    _check_positive("cosine", "steps", steps)
    return lambda step: final + (lr - final) * (1 + math.cos(math.pi * min(step / steps, 1))) / 2


def one_cycle(
    lr: float, steps: int, rise: float = 0.3, start: float = 1 / 25, final: float = 1e-4 / 25
) -> Schedule:
    """Rise from `start` lr to lr over a share `rise` of the steps, then fall to `final` lr, along cosines.

    The peak, lr, is at step rise steps - 1, between two steps where that is no whole number, as in PyTorch's
    OneCycleLR, with its defaults. If it is not above 0 there is no step to rise in, and the cycle begins at its peak,
    where PyTorch divides by zero or begins below the peak. Smith and Topin, "Super-Convergence", arXiv:1708.07120.

    >>> [round(one_cycle(1.0, 100)(s), 3) for s in (0, 29, 99)]
    [0.04, 1.0, 0.0]
    """
    for name, value in (("lr", lr), ("start", start), ("final", final)):
        _check_rate("one_cycle", name, value)
    _check_positive("one_cycle", "steps", steps)
    number(rise, "rise", "one_cycle", 0, 1, fix="it is a share of the steps")
    top, last = max(rise * steps - 1, 0), steps - 1

    def between(low: float, high: float, share: float) -> float:
        return low + (high - low) * (1 - math.cos(math.pi * min(max(share, 0), 1))) / 2

    def schedule(step: int) -> float:
        if step < top or step == top > 0:
            return lr * between(start, 1, step / top)
        return lr * between(1, final, (step - top) / max(last - top, 1e-9))

    return schedule


def warm_up(schedule: Schedule, steps: int) -> Schedule:
    """Multiply a schedule by (step + 1) / steps for its first `steps` steps.

    Goyal et al., "Accurate, Large Minibatch SGD", arXiv:1706.02677, section 2.2.

    >>> [warm_up(constant(1.0), 4)(s) for s in (0, 1, 3, 9)]
    [0.25, 0.5, 1.0, 1.0]
    """
    function(schedule, "schedule", "warm_up", "pass warm_up(constant(0.1), steps=100), say")
    whole(steps, "steps", "warm_up", 0, error=HyperparameterError)
    return lambda step: schedule(step) * min((step + 1) / max(steps, 1), 1.0)


def _check_positive(who: str, name: str, value: Any) -> None:
    if not is_whole(value) or value < 1:
        raise HyperparameterError(
            f"{who}: expected {name} >= 1, got {value!r}; pass a number of steps, a whole one"
        )


def _check_rate(who: str, name: str, value: Any) -> None:
    number(value, name, who, 0, fix="pass 0.1, say")


_MAKERS: dict[str, Callable[[float, int], Schedule]] = {
    "constant": lambda lr, steps: constant(lr),
    "step": lambda lr, steps: step_decay(lr, every=math.ceil(steps / 3)),
    "cosine": cosine,
    "one-cycle": one_cycle,
}
NAMES = tuple(_MAKERS)


def by_name(name: str, lr: float, steps: int) -> Schedule:
    """Return the schedule called `name` in `NAMES` for a training of `steps` steps; "step" decays at thirds.

    Raises
    ------
    HyperparameterError
        For another name, or less than one step.
    """
    if name not in NAMES:
        raise HyperparameterError(f"schedule {name!r} is unknown; pass one of: {', '.join(NAMES)}")
    _check_positive(name, "steps", steps)
    return _MAKERS[name](lr, steps)
