"""Optimizers: from gradients to better parameters, a few vector operations a step.

An optimizer puts all parameters into one flat buffer and all gradients into another; each `Parameter` becomes a view.
So an update costs the same few operations for two layers as for two hundred. In the formulas theta are the parameters,
g the gradients, lr the learning rate, and t counts steps from 1.

The state of parameters in half precision is in single, and so is the arithmetic of an update; theta is rounded once. A
step of less than half a unit in theta's last place, 0.0002 at 1, is lost then: train in float32 and convert the result.
"""

from xpcnn.optimizers.adaptive import AdaGrad, Adam, AdamW, RMSprop
from xpcnn.optimizers.base import Group, Optimizer, State, hyperparameter
from xpcnn.optimizers.descent import SGD, Momentum, Nesterov

__all__ = [
    "BY_NAME",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Group",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "RMSprop",
    "State",
    "hyperparameter",
]

BY_NAME: dict[str, type[Optimizer]] = {
    kind.__name__.lower(): kind for kind in (SGD, Momentum, Nesterov, AdaGrad, RMSprop, Adam, AdamW)
}
