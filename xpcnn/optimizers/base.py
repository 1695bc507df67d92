"""The base of all optimizers: numbers in their ranges, groups, the flat buffers, weight decay and clipping."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, NamedTuple, TypeAlias

from xpcnn.backend import Array, xp
from xpcnn.errors import DtypeError, HyperparameterError, ShapeError
from xpcnn.errors.checks import is_number
from xpcnn.kernels.precision import computing
from xpcnn.layers import Parameter
from xpcnn.optimizers.flat import FlatBuffers, aligned_zeros, without_gaps

State: TypeAlias = Mapping[str, Array]
"""Arrays that an optimizer keeps from step to step, by name."""


def hyperparameter(default: Any, *, below: float = math.inf, kw_only: bool = False) -> Any:
    """Declare a number of an optimizer: its default, and its range from 0 to `below`, checked whenever it is set.

    A default of two numbers declares a pair. Where the default is None, None is allowed, and 0 is not.
    """
    return field(default=default, kw_only=kw_only, metadata={"below": below})


class Group(NamedTuple):
    """Parameters with a multiple of the optimizer's rate of their own, and a decay of their own."""

    parameters: tuple[Parameter, ...]
    rate: float
    weight_decay: float


@dataclass(eq=False, repr=False)
class Optimizer:
    """The base of all optimizers: groups, the flat buffers, weight decay and clipping.

    To write one, declare its numbers by `hyperparameter` and the names of its state arrays in `state_names`, and define
    `update`. A copy, or one that was pickled, goes on as this one does, to the bit, if the model is copied along with
    it: ``copy.deepcopy((model, optimizer))``.

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
        For a number out of its range, when it is passed or set, or a group with other keys.

    Examples
    --------
    >>> from xpcnn.layers import Affine
    >>> @dataclass(eq=False, repr=False)
    ... class SignDescent(Optimizer):
    ...     floor: float = hyperparameter(1e-3, below=1)
    ...
    ...     def update(self, theta, g, lr, state):
    ...         theta -= lr * xp.sign(g) * (abs(g) > self.floor)
    >>> SignDescent(Affine(2, 3).parameters(), 0.1, floor=0.2)
    SignDescent(lr=0.1, weight_decay=0.0, clip_norm=None, floor=0.2)
    """

    parameters: Any
    lr: float = hyperparameter(0.01)
    weight_decay: float = hyperparameter(0.0, kw_only=True)
    clip_norm: float | None = hyperparameter(None, kw_only=True)
    steps: int = field(default=0, init=False)

    state_names: ClassVar[tuple[str, ...]] = ()
    """Of the arrays that an update keeps from step to step."""

    def __post_init__(self) -> None:
        self._groups = self._grouped(self.parameters)
        self.parameters = [parameter for group in self._groups for parameter in group[0]]
        who = type(self).__name__
        if not self.parameters:
            raise ShapeError(f"{who}: expected parameters, got none; pass model.parameters()")
        if len(set(map(id, self.parameters))) < len(self.parameters):
            raise ShapeError(f"{who}: a parameter is there twice; pass each one once")
        if len(dtypes := {parameter.data.dtype for parameter in self.parameters}) > 1:
            raise ShapeError(f"{who}: parameters differ in dtype, {dtypes}; call model.astype(...)")
        self._flat = FlatBuffers(self.parameters)
        self._plan: tuple[Any, list[Piece]] | None = None
        length, dtype = self.data.size, computing(self.data.dtype)  # parameters in half have theirs in single
        self.state = {name: aligned_zeros(length, dtype) for name in self.state_names}

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a declared number is checked, and made a float, or a pair of floats."""
        declared = type(self).__dataclass_fields__.get(name)
        super().__setattr__(name, self._checked(declared, value) if declared and declared.metadata else value)

    @property
    def data(self) -> Array:
        """All parameters, in one flat array; zeros fill the gaps up to the next multiple of 128 bytes."""
        return self._flat.data

    @property
    def grad(self) -> Array:
        """All gradients, in one flat array."""
        return self._flat.grad

    @property
    def groups(self) -> list[Group]:
        """The groups; parameters that were passed alone are the first one."""
        own = self.weight_decay
        return [
            Group(members, rate, own if decay is None else decay) for members, rate, decay in self._groups
        ]

    def step(self) -> None:
        """Update all parameters that are trainable from their gradients, in place, and end the sum of gradients."""
        if not self._flat.current:
            self._flat, self._plan = self._gathered(), None
        for parameter in self.parameters:
            parameter.clear_unused()
        self.steps += 1
        pieces, wide = (
            self._pieces(),
            computing(self.data.dtype),
        )  # half is updated in single, and rounded once
        data, grad = self.data.astype(wide, copy=False), self.grad.astype(wide, copy=False)
        if self.clip_norm is not None:
            packed = [without_gaps(grad, piece.spans) for piece in pieces]
            norm = xp.sqrt(sum((g * g).sum() for g in packed))
            grad *= self.clip_norm / xp.maximum(norm, self.clip_norm)
        for whole, _, group in pieces:
            theta, lr = data[whole], self.lr * group.rate
            g = self.decayed(theta, grad[whole], lr, group.weight_decay)
            self.update(theta, g, lr, {name: values[whole] for name, values in self.state.items()})
        if data is not self.data:
            self.data[...], self.grad[...] = data, grad
        for parameter in self.parameters:
            parameter.end_sum()

    def update(self, theta: Array, g: Array, lr: float, state: State) -> None:
        """Change flat parameters theta, and their state, in place; g already contains the decay."""
        raise NotImplementedError

    def decayed(self, theta: Array, g: Array, lr: float, weight_decay: float) -> Array:
        """Return g + weight_decay theta."""
        return g + weight_decay * theta if weight_decay else g

    def packed_state(self) -> dict[str, Array]:
        """Return copies of the state arrays without gaps, as checkpoints hold them."""
        return {name: self._flat.packed(values) for name, values in self.state.items()}

    def load_packed_state(self, state: State) -> None:
        """Write what `packed_state` returned into the state arrays."""
        for name, values in self.state.items():
            self._flat.unpack(state[name], values)

    def _pieces(self) -> "list[Piece]":
        """Return the pieces of the flat buffers that are updated at once: neighbours of a group that are trainable."""
        key = self.weight_decay, [parameter.trainable for parameter in self.parameters]
        if self._plan is None or self._plan[0] != key:
            pieces: list[tuple[list[slice], Group]] = []
            spans = iter(self._flat.spans)
            for group in self.groups:
                neighbours: list[slice] = []
                for parameter in group.parameters:
                    span = next(spans)
                    if parameter.trainable:
                        neighbours.append(span)
                    else:
                        pieces, neighbours = [*pieces, (neighbours, group)], []
                pieces.append((neighbours, group))
            plan = [Piece(slice(near[0].start, near[-1].stop), near, group) for near, group in pieces if near]
            self._plan = key, plan
        return self._plan[1]

    def _grouped(self, given: Any) -> list[tuple[tuple[Parameter, ...], float, float | None]]:
        """Return (parameters, rate, decay) of each group; the parameters that are in no group are the first."""
        who = type(self).__name__
        wrong = f"{who}: expected parameters, got {f'{given}':.60}; pass model.parameters()"
        if not isinstance(given, Iterable) or hasattr(given, "parameters"):
            raise DtypeError(wrong)
        groups: list[tuple[tuple[Parameter, ...], float, float | None]] = []
        single: list[Parameter] = []
        for entry in given:
            if isinstance(entry, Parameter):
                single.append(entry)
                continue
            if not isinstance(entry, Mapping):
                raise DtypeError(wrong)
            if not {"parameters"} <= set(entry) <= {"parameters", "lr", "weight_decay"}:
                raise HyperparameterError(
                    f"{who}: expected groups with the keys 'parameters', 'lr' and 'weight_decay', got "
                    f"{', '.join(map(repr, entry))}; rename them"
                )
            members = tuple(entry["parameters"])
            if not all(isinstance(member, Parameter) for member in members):
                raise DtypeError(
                    f"{who}: expected parameters in a group, got {f'{list(members)}':.60}; pass "
                    "model.fc.parameters(), say"
                )
            declared = type(self).__dataclass_fields__
            lr, decay = (
                self._checked(declared[name], entry[name]) if name in entry else None
                for name in ("lr", "weight_decay")
            )
            if lr and not self.lr:
                raise HyperparameterError(
                    f"{who}: a group's rate is a multiple of lr, and lr is 0; pass an lr above 0"
                )
            groups.append((members, 1.0 if lr is None or not self.lr else lr / self.lr, decay))
        return [*([(tuple(single), 1.0, None)] if single else []), *groups]

    def _checked(self, declared: "Field[Any]", value: Any) -> Any:
        """Return a value of a declared number as a float, or a pair as floats, or raise HyperparameterError."""
        default, below = declared.default, declared.metadata["below"]
        if default is None and value is None:
            return None
        numbers = value if isinstance(default, tuple) and isinstance(value, (tuple, list)) else (value,)
        right = len(numbers) == (len(default) if isinstance(default, tuple) else 1)
        if right and all(is_number(x) and 0 <= x < below for x in numbers) and (default is not None or value):
            floats = tuple(map(float, numbers))  # a np.float64 would turn arrays into float64
            return floats if isinstance(default, tuple) else floats[0]
        name = declared.name
        limits = f"{name} > 0 and finite" if default is None else f"0 <= {name} < {below:g}"
        fix = "pass 1.0, or None" if default is None else f"the default is {default}"
        raise HyperparameterError(f"{type(self).__name__}: expected {limits}, got {value}; {fix}")

    def _gathered(self) -> FlatBuffers:
        """Return new flat buffers, for parameters into which somebody has put other arrays; the state must fit them."""
        flat = FlatBuffers(self.parameters)
        kind = type(flat.data), computing(flat.data.dtype), self._flat.spans
        if any((type(values), values.dtype, flat.spans) != kind for values in self.state.values()):
            raise ShapeError(
                f"{self}: the parameters have changed shape, dtype or device since the optimizer was made; "
                "make it after model.astype(...) or model.to_device()"
            )
        return flat

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies and pickles; a copy makes flat buffers of its own parameters."""
        return {name: value for name, value in vars(self).items() if name not in ("_flat", "_plan")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._flat, self._plan = FlatBuffers(self.parameters), None

    def __repr__(self) -> str:
        shared = {declared.name for declared in fields(Optimizer)}
        shown = [
            f"{declared.name}={getattr(self, declared.name)}"
            for declared in fields(self)
            if declared.metadata
            and (declared.name in shared or getattr(self, declared.name) != declared.default)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


class Piece(NamedTuple):
    """A piece of the flat buffers that is updated at once, the spans of its parameters in it, and their group."""

    whole: slice
    spans: list[slice]
    group: Group
