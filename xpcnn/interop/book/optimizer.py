"""The book's optimizers (``common/optimizer.py``, section 6.1): ``optimizer.update(params, grads)``, two dicts.

Parameters are changed in place, so layers that hold them see it. What is remembered of each is made at the first
update. In the formulas theta is a parameter, g its gradient.
"""

import math
from collections.abc import Mapping

from xpcnn import ops
from xpcnn.backend import Array, xp

Arrays = Mapping[str, Array]


class Optimizer:
    """What all share: one `rule` a parameter, with a memory of its own."""

    memories = 0
    """How many arrays of a parameter's shape the rule remembers."""

    def __init__(self, lr: float = 0.01) -> None:
        self.lr, self.iter = lr, 0
        self._memory: dict[str, list[Array]] = {}

    def update(self, params: Arrays, grads: Arrays) -> None:
        """Change every parameter in place."""
        self.iter += 1
        for key, theta in params.items():
            if key not in self._memory:
                self._memory[key] = [xp.zeros_like(theta) for _ in range(self.memories)]
            g = xp.ascontiguousarray(grads[key])  # as a kernel wants it
            self.rule(theta, g, *self._memory[key])

    def rule(self, theta: Array, g: Array, *memory: Array) -> None:
        """Change one parameter, and what is remembered of it, in place."""
        raise NotImplementedError


class SGD(Optimizer):
    """theta -= lr g."""

    def rule(self, theta: Array, g: Array, *memory: Array) -> None:
        ops.sgd_update(theta, g, self.lr)


class Momentum(Optimizer):
    """v = momentum v - lr g;  theta += v."""

    memories = 1

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        super().__init__(lr)
        self.momentum = momentum

    def rule(self, theta: Array, g: Array, *memory: Array) -> None:
        (velocity,) = memory
        ops.momentum_update(theta, g, velocity, self.lr, self.momentum)


class Nesterov(Momentum):
    """theta += momentum^2 v - (1 + momentum) lr g, with the v of before;  v = momentum v - lr g.

    Bengio, Boulanger-Lewandowski and Pascanu, arXiv:1212.0901, equation 7. The Korean edition's code takes the new v,
    and so steps too far by momentum^2 lr g; the Japanese one is right.
    """

    def rule(self, theta: Array, g: Array, *memory: Array) -> None:
        (velocity,) = memory
        theta += self.momentum**2 * velocity - (1 + self.momentum) * self.lr * g
        velocity *= self.momentum
        velocity -= self.lr * g


class AdaGrad(Optimizer):
    """h += g^2;  theta -= lr g / (sqrt(h) + 1e-7)."""

    memories = 1

    def rule(self, theta: Array, g: Array, *memory: Array) -> None:
        (squares,) = memory
        squares += g * g
        theta -= self.lr * g / (xp.sqrt(squares) + 1e-7)


class RMSprop(Optimizer):
    """h = decay_rate h + (1 - decay_rate) g^2;  theta -= lr g / (sqrt(h) + 1e-7)."""

    memories = 1

    def __init__(self, lr: float = 0.01, decay_rate: float = 0.99) -> None:
        super().__init__(lr)
        self.decay_rate = decay_rate

    def rule(self, theta: Array, g: Array, *memory: Array) -> None:
        (squares,) = memory
        squares *= self.decay_rate
        squares += (1 - self.decay_rate) * g * g
        theta -= self.lr * g / (xp.sqrt(squares) + 1e-7)


class Adam(Optimizer):
    """m, v: running means of g and g^2;  theta -= lr sqrt(1 - beta2^t) / (1 - beta1^t)  m / (sqrt(v) + 1e-7).

    The form at the end of section 2 of Kingma and Ba, arXiv:1412.6980, whose eps is not corrected with v; so
    `ops.adam_update`, which does correct it, is given one from which the correction is taken out.
    """

    memories = 2

    def __init__(self, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999) -> None:
        super().__init__(lr)
        self.beta1, self.beta2 = beta1, beta2

    def rule(self, theta: Array, g: Array, *memory: Array) -> None:
        mean, squares = memory
        eps = 1e-7 / math.sqrt(1 - self.beta2**self.iter)
        ops.adam_update(theta, g, mean, squares, self.lr, (self.beta1, self.beta2), eps, self.iter)
