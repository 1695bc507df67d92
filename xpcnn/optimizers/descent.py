"""Gradient descent, with and without momentum."""

from dataclasses import dataclass

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.optimizers.base import Optimizer, State, hyperparameter


@dataclass(eq=False, repr=False)
class SGD(Optimizer):
    """theta -= lr g. Robbins and Monro, 1951."""

    def update(self, theta: Array, g: Array, lr: float, state: State) -> None:
        ops.sgd_update(theta, g, lr)


@dataclass(eq=False, repr=False)
class Momentum(Optimizer):
    """v = momentum v - lr g;  theta += v. Polyak, 1964; the book, section 6.1.4."""

    momentum: float = hyperparameter(0.9, below=1)
    state_names = ("velocity",)

    def update(self, theta: Array, g: Array, lr: float, state: State) -> None:
        ops.momentum_update(theta, g, state["velocity"], lr, self.momentum)


@dataclass(eq=False, repr=False)
class Nesterov(Momentum):
    """v = momentum v - lr g;  theta += momentum v - lr g: the gradient is taken where momentum will lead.

    Nesterov, 1983, in the form of Bengio, Boulanger-Lewandowski and Pascanu, arXiv:1212.0901, equation 7.
    """

    def update(self, theta: Array, g: Array, lr: float, state: State) -> None:
        velocity, descent = state["velocity"], lr * g
        velocity *= self.momentum
        velocity -= descent
        theta += self.momentum * velocity - descent
