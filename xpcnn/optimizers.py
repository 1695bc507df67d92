"""Optimizers: from gradients to better parameters, a few vector operations a step.

An optimizer lays all parameters into one flat buffer and all gradients into another; each `Parameter`
becomes a view. So an update costs the same few operations for two layers as for two hundred. In the
formulas theta are the parameters, g the gradients, lr the learning rate, and t counts steps from 1.

Of parameters in half precision the state is kept, and the update computed, in single; theta is rounded once. A step
of less than half a unit in theta's last place, 0.0002 at 1, is lost then: train in float32 and convert the result.
"""

import inspect
import math
from collections.abc import Iterable

from xpcnn import ops
from xpcnn.backend import Array, xp
from xpcnn.checks import is_number
from xpcnn.errors import DtypeError, HyperparameterError, ShapeError
from xpcnn.layers.base import Parameter
from xpcnn.precision import computing


class Optimizer:
    """What all optimizers share: the flat buffers, weight decay and clipping.

    Parameters
    ----------
    parameters : list of Parameter
        ``model.parameters()``.
    lr : float
        Learning rate; an attribute, so a schedule may set it before each step.
    weight_decay : float
        g is replaced by g + weight_decay theta (L2 regularisation); AdamW decays otherwise.
    clip_norm : float or None
        If the Euclidean norm of all gradients together exceeds this, they are scaled down to it before the
        decay is added (Pascanu, Mikolov and Bengio, ICML 2013, algorithm 1).

    Raises
    ------
    ShapeError
        If there are no parameters, or they differ in dtype; in step(), if they have changed shape, dtype or device.
    HyperparameterError
        For a number out of its range.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 0.01,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        self.parameters, self.steps = _only_parameters(parameters, type(self).__name__), 0
        self.lr, self.weight_decay = lr, self._in_range("weight_decay", weight_decay)
        self.clip_norm = clip_norm
        if clip_norm is not None:
            if not (is_number(clip_norm) and clip_norm > 0):
                raise HyperparameterError(
                    f"{type(self).__name__}: expected clip_norm > 0 and finite, got {clip_norm}; pass 1.0, or None"
                )
            self.clip_norm = float(clip_norm)
        if not self.parameters:
            raise ShapeError(f"{type(self).__name__}: expected parameters, got none; pass model.parameters()")
        dtypes = {parameter.data.dtype for parameter in self.parameters}
        if len(dtypes) > 1:
            raise ShapeError(
                f"{type(self).__name__}: parameters differ in dtype, {dtypes}; call model.astype(...)"
            )
        self._lay_flat()
        state = computing(self.data.dtype)  # parameters in half have theirs in single
        self.state = {name: xp.zeros_like(self.data, dtype=state) for name in self.state_names}

    state_names: tuple[str, ...] = ()

    @property
    def lr(self) -> float:
        """The learning rate: set it before a step, to a finite number of at least 0."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = self._in_range("lr", value)

    def step(self) -> None:
        """Update all parameters from their gradients, in place."""
        if not all(p.data is view and p.grad is grad for p, (view, grad) in self._views):
            self._lay_flat()
            self._check_state()
        self.steps += 1
        wide = computing(self.data.dtype)
        theta, g = self.data.astype(wide, copy=False), self.grad.astype(wide, copy=False)
        if self.clip_norm is not None:
            norm = xp.sqrt((g * g).sum())
            g *= self.clip_norm / xp.maximum(norm, self.clip_norm)
        self.update(theta, self.decayed(theta, g))
        if theta is not self.data:  # half precision: what was computed in single is rounded once
            self.data[...], self.grad[...] = theta, g

    def update(self, theta: Array, g: Array) -> None:
        """Change the flat parameters theta, and the state, in place; g already holds the decay."""
        raise NotImplementedError

    def decayed(self, theta: Array, g: Array) -> Array:
        """Return g + weight_decay theta."""
        return g + self.weight_decay * theta if self.weight_decay else g

    def _lay_flat(self) -> None:
        """Gather the parameters; again, if somebody put other arrays into them since."""
        self.data = xp.concatenate([parameter.data.reshape(-1) for parameter in self.parameters])
        self.grad = xp.concatenate([parameter.grad.reshape(-1) for parameter in self.parameters])
        self._views, first = [], 0
        for parameter in self.parameters:
            shape, end = parameter.data.shape, first + math.prod(parameter.data.shape)
            parameter.data, parameter.grad = (
                self.data[first:end].reshape(shape),
                self.grad[first:end].reshape(shape),
            )
            self._views.append((parameter, (parameter.data, parameter.grad)))
            first = end

    def _check_state(self) -> None:
        kind = type(self.data), self.data.shape, computing(self.data.dtype)
        if any((type(values), values.shape, values.dtype) != kind for values in self.state.values()):
            raise ShapeError(
                f"{self}: the parameters have changed shape, dtype or device since the optimizer was made; "
                "make it after model.astype(...) or model.to_device()"
            )

    def _in_range(self, name: str, value: float, below: float = math.inf) -> float:
        if not (is_number(value) and 0 <= value < below):
            default = inspect.signature(type(self)).parameters[name].default
            raise HyperparameterError(
                f"{type(self).__name__}: expected 0 <= {name} < {below:g}, got {value}; the default is {default}"
            )
        return float(value)  # a np.float64 would turn arrays into float64

    def __repr__(self) -> str:
        return f"{type(self).__name__}(lr={self.lr}, weight_decay={self.weight_decay}, clip_norm={self.clip_norm})"


def _only_parameters(parameters: Iterable[Parameter], who: str) -> list[Parameter]:
    """Return parameters as a list, or raise DtypeError: a model is none, its parameters are."""
    if isinstance(parameters, Iterable):
        listed = list(parameters)
        if all(isinstance(parameter, Parameter) for parameter in listed):
            return listed
    raise DtypeError(f"{who}: expected parameters, got {parameters!s:.60}; pass model.parameters()")


class SGD(Optimizer):
    """theta -= lr g. Robbins and Monro, 1951."""

    def update(self, theta: Array, g: Array) -> None:
        ops.sgd_update(theta, g, self.lr)


class Momentum(Optimizer):
    """v = momentum v - lr g;  theta += v. Polyak, 1964; the book, section 6.1.4."""

    state_names = ("velocity",)

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 0.01,
        momentum: float = 0.9,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(parameters, lr, weight_decay=weight_decay, clip_norm=clip_norm)
        self.momentum = self._in_range("momentum", momentum, 1)

    def update(self, theta: Array, g: Array) -> None:
        ops.momentum_update(theta, g, self.state["velocity"], self.lr, self.momentum)


class Nesterov(Momentum):
    """v = momentum v - lr g;  theta += momentum v - lr g: the gradient is taken where momentum will lead.

    Nesterov, 1983, in the form of Bengio, Boulanger-Lewandowski and Pascanu, arXiv:1212.0901, equation 7.
    """

    def update(self, theta: Array, g: Array) -> None:
        velocity, descent = self.state["velocity"], self.lr * g
        velocity *= self.momentum
        velocity -= descent
        theta += self.momentum * velocity - descent


class AdaGrad(Optimizer):
    """h += g^2;  theta -= lr g / (sqrt(h) + eps). Duchi, Hazan and Singer, JMLR 12, 2011."""

    state_names = ("squares",)

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 0.01,
        eps: float = 1e-7,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(parameters, lr, weight_decay=weight_decay, clip_norm=clip_norm)
        self.eps = self._in_range("eps", eps)

    def update(self, theta: Array, g: Array) -> None:
        squares = self.state["squares"]
        squares += g * g
        theta -= self.lr * g / (xp.sqrt(squares) + self.eps)


class RMSprop(Optimizer):
    """h = decay h + (1 - decay) g^2;  theta -= lr g / (sqrt(h) + eps). Tieleman and Hinton, lecture 6.5, 2012."""

    state_names = ("squares",)

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 0.001,
        decay: float = 0.99,
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(parameters, lr, weight_decay=weight_decay, clip_norm=clip_norm)
        self.decay, self.eps = self._in_range("decay", decay, 1), self._in_range("eps", eps)

    def update(self, theta: Array, g: Array) -> None:
        squares = self.state["squares"]
        squares *= self.decay
        squares += (1 - self.decay) * g * g
        theta -= self.lr * g / (xp.sqrt(squares) + self.eps)


class Adam(Optimizer):
    """Running means of g and g^2, both corrected for beginning at zero, and their quotient as the step.

        m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2
        theta -= lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    References
    ----------
    Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1.
    """

    state_names = ("mean", "squares")

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(parameters, lr, weight_decay=weight_decay, clip_norm=clip_norm)
        self.eps = self._in_range("eps", eps)
        pair = betas if isinstance(betas, (tuple, list)) else ()
        if len(pair) != 2 or not all(is_number(beta) and 0 <= beta < 1 for beta in pair):
            raise HyperparameterError(
                f"{type(self).__name__}: expected 0 <= betas < 1, got {betas}; pass (0.9, 0.999)"
            )
        self.betas = float(pair[0]), float(pair[1])

    def update(self, theta: Array, g: Array) -> None:
        mean, squares = self.state["mean"], self.state["squares"]
        ops.adam_update(theta, g, mean, squares, self.lr, self.betas, self.eps, self.steps)


class AdamW(Adam):
    """Adam, with decay apart from the gradient: theta -= lr weight_decay theta, then Adam's step.

    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.01,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay=weight_decay, clip_norm=clip_norm)

    def decayed(self, theta: Array, g: Array) -> Array:
        """Return g as it is: the decay is no part of the gradient here."""
        return g

    def update(self, theta: Array, g: Array) -> None:
        theta *= 1 - self.lr * self.weight_decay
        super().update(theta, g)


BY_NAME: dict[str, type[Optimizer]] = {
    kind.__name__.lower(): kind for kind in (SGD, Momentum, Nesterov, AdaGrad, RMSprop, Adam, AdamW)
}
