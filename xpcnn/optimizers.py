"""Optimizers: from gradients to better parameters, a few vector operations a step.

An optimizer lays all parameters into one flat buffer and all gradients into another; each `Parameter`
becomes a view. So an update costs the same few operations for two layers as for two hundred. In the
formulas theta are the parameters, g the gradients, lr the learning rate, and t counts steps from 1.

Of parameters in half precision the state is kept, and the update computed, in single; theta is rounded once. A step
of less than half a unit in theta's last place, 0.0002 at 1, is lost then: train in float32 and convert the result.
"""

import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from xpcnn import ops
from xpcnn.backend import Array, xp
from xpcnn.errors import DtypeError, HyperparameterError, ShapeError
from xpcnn.errors.checks import is_number
from xpcnn.kernels.precision import computing
from xpcnn.layers import Parameter

State: TypeAlias = Mapping[str, Array]
"""What an optimizer keeps from step to step, by name."""


class Group(NamedTuple):
    """Parameters that are updated alike: with this multiple of the optimizer's rate, and this decay."""

    parameters: tuple[Parameter, ...]
    rate: float
    weight_decay: float


class Optimizer:
    """What all optimizers share: groups, the flat buffers, weight decay and clipping.

    A copy, or one that was pickled, goes on as this one does, to the bit, if the model is copied along with it:
    ``copy.deepcopy((model, optimizer))``.

    Parameters
    ----------
    parameters : list of Parameter, or of groups
        ``model.parameters()``. A group is a dictionary with "parameters" and, where it differs from the rest, "lr"
        and "weight_decay": ``[{"parameters": model.fc.parameters(), "lr": 1e-2}, {"parameters": rest}]``. When a
        schedule changes `lr`, the rates of all groups change in proportion.
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
        For a number out of its range, or a group that is none.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter | Mapping[str, Any]],
        lr: float = 0.01,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        self.steps = 0
        self.lr, self.weight_decay = lr, self._in_range("weight_decay", weight_decay)
        self.clip_norm = clip_norm
        if clip_norm is not None:
            if not (is_number(clip_norm) and clip_norm > 0):
                raise HyperparameterError(
                    f"{type(self).__name__}: expected clip_norm > 0 and finite, got {clip_norm}; pass 1.0, or None"
                )
            self.clip_norm = float(clip_norm)
        self.groups = self._grouped(parameters)
        self.parameters = [parameter for group in self.groups for parameter in group.parameters]
        if not self.parameters:
            raise ShapeError(f"{type(self).__name__}: expected parameters, got none; pass model.parameters()")
        if len({id(parameter) for parameter in self.parameters}) < len(self.parameters):
            raise ShapeError(f"{type(self).__name__}: a parameter is there twice; pass each one once")
        dtypes = {parameter.data.dtype for parameter in self.parameters}
        if len(dtypes) > 1:
            raise ShapeError(
                f"{type(self).__name__}: parameters differ in dtype, {dtypes}; call model.astype(...)"
            )
        self._lay_flat()
        state = computing(self.data.dtype)  # parameters in half have theirs in single
        self.state = {name: xp.zeros_like(self.data, dtype=state) for name in self.state_names}

    state_names: tuple[str, ...] = ()
    """Of the arrays that an update keeps from step to step."""

    @property
    def lr(self) -> float:
        """The learning rate: set it before a step, to a finite number of at least 0."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = self._in_range("lr", value)

    def step(self) -> None:
        """Update all parameters that are trainable from their gradients, in place, and end the sum of gradients."""
        if not all(p._data is view and p._grad is grad for p, (view, grad) in self._views):
            self._lay_flat()
            self._check_state()
        for parameter in self.parameters:
            parameter.clear_unused()
        self.steps += 1
        parts, wide = (
            self._parts(),
            computing(self.data.dtype),
        )  # half precision is updated in single, and rounded once
        data, grad = self.data.astype(wide, copy=False), self.grad.astype(wide, copy=False)
        if self.clip_norm is not None:
            norm = xp.sqrt(sum((grad[part] * grad[part]).sum() for part, _ in parts))
            grad *= self.clip_norm / xp.maximum(norm, self.clip_norm)
        for part, group in parts:
            theta, lr = data[part], self.lr * group.rate
            g = self.decayed(theta, grad[part], lr, group.weight_decay)
            self.update(theta, g, lr, {name: values[part] for name, values in self.state.items()})
        if data is not self.data:
            self.data[...], self.grad[...] = data, grad
        for parameter in self.parameters:
            parameter.end_sum()

    def update(self, theta: Array, g: Array, lr: float, state: State) -> None:
        """Change flat parameters theta, and their state, in place; g already holds the decay."""
        raise NotImplementedError

    def decayed(self, theta: Array, g: Array, lr: float, weight_decay: float) -> Array:
        """Return g + weight_decay theta."""
        return g + weight_decay * theta if weight_decay else g

    def _grouped(self, given: Iterable[Parameter | Mapping[str, Any]]) -> list[Group]:
        """Return groups: neighbours that are no group themselves are one."""
        if not isinstance(given, Iterable) or hasattr(given, "parameters"):
            raise DtypeError(
                f"{type(self).__name__}: expected parameters, got {f'{given}':.60}; pass model.parameters()"
            )
        groups: list[Group] = []
        single: list[Parameter] = []
        for entry in given:
            if isinstance(entry, Parameter):
                single.append(entry)
                continue
            if not isinstance(entry, Mapping):
                raise DtypeError(
                    f"{type(self).__name__}: expected parameters, got {f'{given}':.60}; pass model.parameters()"
                )
            if not {"parameters"} <= set(entry) <= {"parameters", "lr", "weight_decay"}:
                raise HyperparameterError(
                    f"{type(self).__name__}: expected groups with the keys 'parameters', 'lr' and 'weight_decay', got "
                    f"{', '.join(map(repr, entry))}; rename them"
                )
            members = list(entry["parameters"])
            if not all(isinstance(member, Parameter) for member in members):
                raise DtypeError(
                    f"{type(self).__name__}: expected parameters in a group, got {f'{members}':.60}; pass "
                    "model.fc.parameters(), say"
                )
            lr = self._in_range("lr", entry.get("lr", self.lr))
            decay = self._in_range("weight_decay", entry.get("weight_decay", self.weight_decay))
            if lr != self.lr and not self.lr:
                raise HyperparameterError(
                    f"{type(self).__name__}: a group's rate is a multiple of lr, and lr is 0; pass an lr above 0"
                )
            groups.append(Group(tuple(members), lr / self.lr if self.lr else 1.0, decay))
        return [*([Group(tuple(single), 1.0, self.weight_decay)] if single else []), *groups]

    def _parts(self) -> list[tuple[slice, Group]]:
        """Return the pieces of the flat buffers that are updated at once: neighbours of a group that are trainable."""
        parts: list[tuple[slice, Group]] = []
        first = 0
        for group in self.groups:
            begin = first
            for parameter in group.parameters:
                end = first + math.prod(parameter._data.shape)
                if not parameter.trainable:
                    parts, begin = [*parts, (slice(begin, first), group)], end
                first = end
            parts.append((slice(begin, first), group))
        return [(part, group) for part, group in parts if part.start < part.stop]

    def _lay_flat(self) -> None:
        """Gather the parameters; again, if somebody put other arrays into them since."""
        self.data = xp.concatenate([parameter._data.reshape(-1) for parameter in self.parameters])
        self.grad = xp.concatenate([parameter._grad.reshape(-1) for parameter in self.parameters])
        self._views, first = [], 0
        for parameter in self.parameters:
            shape, end = parameter._data.shape, first + math.prod(parameter._data.shape)
            view, grad = self.data[first:end].reshape(shape), self.grad[first:end].reshape(shape)
            parameter.bind(view, grad)
            self._views.append((parameter, (view, grad)))
            first = end

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: not the flat buffers, which the copy lays anew around its own parameters."""
        return {name: value for name, value in vars(self).items() if name not in ("data", "grad", "_views")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lay_flat()

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


class SGD(Optimizer):
    """theta -= lr g. Robbins and Monro, 1951."""

    def update(self, theta: Array, g: Array, lr: float, state: State) -> None:
        ops.sgd_update(theta, g, lr)


class Momentum(Optimizer):
    """v = momentum v - lr g;  theta += v. Polyak, 1964; the book, section 6.1.4."""

    state_names = ("velocity",)

    def __init__(
        self,
        parameters: Iterable[Parameter | Mapping[str, Any]],
        lr: float = 0.01,
        momentum: float = 0.9,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(parameters, lr, weight_decay=weight_decay, clip_norm=clip_norm)
        self.momentum = self._in_range("momentum", momentum, 1)

    def update(self, theta: Array, g: Array, lr: float, state: State) -> None:
        ops.momentum_update(theta, g, state["velocity"], lr, self.momentum)


class Nesterov(Momentum):
    """v = momentum v - lr g;  theta += momentum v - lr g: the gradient is taken where momentum will lead.

    Nesterov, 1983, in the form of Bengio, Boulanger-Lewandowski and Pascanu, arXiv:1212.0901, equation 7.
    """

    def update(self, theta: Array, g: Array, lr: float, state: State) -> None:
        velocity, descent = state["velocity"], lr * g
        velocity *= self.momentum
        velocity -= descent
        theta += self.momentum * velocity - descent


class AdaGrad(Optimizer):
    """h += g^2;  theta -= lr g / (sqrt(h) + eps). Duchi, Hazan and Singer, JMLR 12, 2011."""

    state_names = ("squares",)

    def __init__(
        self,
        parameters: Iterable[Parameter | Mapping[str, Any]],
        lr: float = 0.01,
        eps: float = 1e-7,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(parameters, lr, weight_decay=weight_decay, clip_norm=clip_norm)
        self.eps = self._in_range("eps", eps)

    def update(self, theta: Array, g: Array, lr: float, state: State) -> None:
        squares = state["squares"]
        squares += g * g
        theta -= lr * g / (xp.sqrt(squares) + self.eps)


class RMSprop(Optimizer):
    """h = decay h + (1 - decay) g^2;  theta -= lr g / (sqrt(h) + eps). Tieleman and Hinton, lecture 6.5, 2012."""

    state_names = ("squares",)

    def __init__(
        self,
        parameters: Iterable[Parameter | Mapping[str, Any]],
        lr: float = 0.001,
        decay: float = 0.99,
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(parameters, lr, weight_decay=weight_decay, clip_norm=clip_norm)
        self.decay, self.eps = self._in_range("decay", decay, 1), self._in_range("eps", eps)

    def update(self, theta: Array, g: Array, lr: float, state: State) -> None:
        squares = state["squares"]
        squares *= self.decay
        squares += (1 - self.decay) * g * g
        theta -= lr * g / (xp.sqrt(squares) + self.eps)


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
        parameters: Iterable[Parameter | Mapping[str, Any]],
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

    def update(self, theta: Array, g: Array, lr: float, state: State) -> None:
        ops.adam_update(theta, g, state["mean"], state["squares"], lr, self.betas, self.eps, self.steps)


class AdamW(Adam):
    """Adam, with decay apart from the gradient: theta -= lr weight_decay theta, then Adam's step.

    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter | Mapping[str, Any]],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.01,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay=weight_decay, clip_norm=clip_norm)

    def decayed(self, theta: Array, g: Array, lr: float, weight_decay: float) -> Array:
        """Decay theta in place, and return g as it is."""
        theta *= 1 - lr * weight_decay
        return g


BY_NAME: dict[str, type[Optimizer]] = {
    kind.__name__.lower(): kind for kind in (SGD, Momentum, Nesterov, AdaGrad, RMSprop, Adam, AdamW)
}
