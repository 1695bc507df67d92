"""Optimizers that divide each step by the size of past gradients."""

from dataclasses import dataclass

from xpcnn import ops
from xpcnn.backend import Array, xp
from xpcnn.optimizers.base import Optimizer, State, hyperparameter


@dataclass(eq=False, repr=False)
class AdaGrad(Optimizer):
    """h += g^2;  theta -= lr g / (sqrt(h) + eps). Duchi, Hazan and Singer, JMLR 12, 2011."""

    eps: float = hyperparameter(1e-7)
    state_names = ("squares",)

    def update(self, theta: Array, g: Array, lr: float, state: State) -> None:
        squares = state["squares"]
        squares += g * g
        theta -= lr * g / (xp.sqrt(squares) + self.eps)


@dataclass(eq=False, repr=False)
class RMSprop(Optimizer):
    """h = decay h + (1 - decay) g^2;  theta -= lr g / (sqrt(h) + eps). Tieleman and Hinton, lecture 6.5, 2012."""

    lr: float = hyperparameter(0.001)
    decay: float = hyperparameter(0.99, below=1)
    eps: float = hyperparameter(1e-8)
    state_names = ("squares",)

    def update(self, theta: Array, g: Array, lr: float, state: State) -> None:
        squares = state["squares"]
        squares *= self.decay
        squares += (1 - self.decay) * g * g
        theta -= lr * g / (xp.sqrt(squares) + self.eps)


@dataclass(eq=False, repr=False)
class Adam(Optimizer):
    """Running means of g and g^2, both corrected for beginning at zero, and their quotient as the step.

        m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2
        theta -= lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    References
    ----------
    Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1.
    """

    lr: float = hyperparameter(0.001)
    betas: tuple[float, float] = hyperparameter((0.9, 0.999), below=1)
    eps: float = hyperparameter(1e-8)
    state_names = ("mean", "squares")

    def update(self, theta: Array, g: Array, lr: float, state: State) -> None:
        ops.adam_update(theta, g, state["mean"], state["squares"], lr, self.betas, self.eps, self.steps)


@dataclass(eq=False, repr=False)
class AdamW(Adam):
    """Adam with decoupled decay: theta -= lr weight_decay theta, then Adam's step.

    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2.
    """

    weight_decay: float = hyperparameter(0.01, kw_only=True)

    def decayed(self, theta: Array, g: Array, lr: float, weight_decay: float) -> Array:
        """Decay theta in place, and return g as it is."""
        theta *= 1 - lr * weight_decay
        return g
