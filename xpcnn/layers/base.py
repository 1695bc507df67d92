"""What every layer is: forward, backward, parameters with gradients, and shapes known before any data."""

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self, TypeAlias

from xpcnn.backend import Array, active_backend, check_array, to_device, to_host, xp
from xpcnn.errors import BackendError, BackwardError, DtypeError
from xpcnn.layers.summary import Summary

Shape: TypeAlias = tuple[int, ...]

_saving: ContextVar[bool] = ContextVar("xpcnn.saving", default=True)


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside the ``with`` block layers save nothing for backward: for evaluation, in less memory.

    It is so in this thread or asyncio task alone; others go on saving.
    """
    token = _saving.set(False)
    try:
        yield
    finally:
        _saving.reset(token)


class Parameter:
    """An array that training changes, and the gradient of the loss with respect to it.

    `backward` writes into `grad` and never adds, so there is nothing to set to zero between steps.
    """

    __slots__ = ("_data", "grad")

    def __init__(self, data: Any) -> None:
        self.data = to_device(data)

    @property
    def data(self) -> Array:
        """The values. Assigning an array of another shape or dtype begins a fresh gradient to match."""
        return self._data

    @data.setter
    def data(self, data: Array) -> None:
        grad = getattr(self, "grad", None)
        if (
            grad is None
            or type(grad) is not type(data)
            or (grad.shape, grad.dtype) != (data.shape, data.dtype)
        ):
            self.grad = xp.zeros_like(data)
        self._data = data

    def __repr__(self) -> str:
        return f"Parameter{self.data.shape}"


class Buffer:
    """An array that belongs to a layer's state but is not trained, such as a running mean.

    With ``persistent=False`` it is left out of weights files.
    """

    __slots__ = ("data", "persistent")

    def __init__(self, data: Any, persistent: bool = True) -> None:
        self.data, self.persistent = to_device(data), persistent

    def __repr__(self) -> str:
        return f"Buffer{self.data.shape}"


class Layer:
    """One differentiable step: forward maps x to y, backward maps dL/dy to dL/dx.

    Parameters are plain attributes; backward leaves dL/dtheta in each one's `grad`. A layer is called
    like a function, ``y = layer(x)``, and then ``dx = layer.backward(dy)`` once: what forward saved is
    freed as it is used. With ``need_dx=False`` backward may return None in place of dx.
    """

    training = True
    _saved: tuple[Any, ...] | None = None

    def __call__(self, x: Array) -> Array:
        """Check that x lives where the model does, then run forward.

        Raises
        ------
        BackendError
            If x or the parameters are arrays of another backend than the active one.
        ShapeError, DtypeError
            If a layer cannot take x; the message names the layer and the fix.
        """
        check_array(x, self)
        self._check_parameters()
        return self.forward(x)

    def forward(self, x: Array) -> Array:
        """Return y, saving for backward what it needs."""
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        """Return dL/dx from dL/dy, and write dL/dtheta into the gradients.

        Raises
        ------
        BackwardError
            If there was no forward() before, or one inside no_grad().
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward()")

    def save_for_backward(self, *values: Any) -> None:
        """Keep values for the next backward(); inside no_grad() keep nothing."""
        self._saved = values if _saving.get() else None

    def pop_saved(self) -> tuple[Any, ...]:
        """Return what forward saved and forget it, so activations are freed as backpropagation proceeds."""
        if self._saved is None:
            raise BackwardError(
                f"{self}: backward() called without a matching forward(); "
                "call the layer on x first, once for each backward(), outside of no_grad()"
            )
        values, self._saved = self._saved, None
        return values

    # ---- shapes: integers only --------------------------------------------------------------------

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of y for one sample, without the batch axis: ``(C, H, W)`` -> ``(O, OH, OW)``."""
        return input_shape

    def multiply_adds(self, input_shape: Shape) -> int:
        """Return the multiplications (each with an addition) of forward, for one sample."""
        return sum(
            layer.multiply_adds(shape) for _, layer, shape in self.walk(input_shape) if layer is not self
        )

    def walk(self, input_shape: Shape, name: str = "") -> Iterator[tuple[str, "Layer", Shape]]:
        """Yield (dotted name, layer, input shape) for every layer that is not a container, in forward order."""
        yield name, self, input_shape

    def summary(self, input_shape: Shape, depth: int | None = None) -> Summary:
        """Return a table of output shapes, parameters and multiply-adds for one sample of `input_shape`.

        With `depth` it opens containers so many levels deep and no further: 1 shows a residual network's stages.
        """
        return Summary.of(self, tuple(input_shape), depth)

    # ---- parameters, buffers, layers within layers --------------------------------------------------

    def children(self) -> Iterator[tuple[str, "Layer"]]:
        """Yield (name, layer) for the layers directly inside this one."""
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Layer))

    def named_layers(self, prefix: str = "") -> Iterator[tuple[str, "Layer"]]:
        """Yield (dotted name, layer) for this layer and all inside it, in a fixed order."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_layers(_dotted(prefix, name))

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (dotted name, parameter), in a fixed order."""
        return self._named(Parameter)

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Yield (dotted name, buffer), in a fixed order."""
        return self._named(Buffer)

    def parameters(self) -> list[Parameter]:
        """Return all parameters, for an optimizer."""
        return [parameter for _, parameter in self.named_parameters()]

    def _named(self, kind: type) -> Iterator[tuple[str, Any]]:
        for prefix, layer in self.named_layers():
            for name, value in vars(layer).items():
                if isinstance(value, kind):
                    yield _dotted(prefix, name), value

    def train(self, training: bool = True) -> Self:
        """Let this layer and all inside it behave as in training; return the layer."""
        for _, layer in self.named_layers():
            layer.training = training
        return self

    def eval(self) -> Self:
        """Let this layer and all inside it behave as in evaluation: no dropout, running statistics."""
        return self.train(False)

    def astype(self, dtype: Any) -> Self:
        """Convert parameters and floating buffers to a dtype, in place; return the layer.

        float64 is for gradient checks: an optimizer made before keeps the old arrays, so make a new one.
        """
        for value in self._arrays():
            if value.data.dtype.kind == "f":
                value.data = value.data.astype(dtype)
        return self

    def to_device(self) -> Self:
        """Move parameters and buffers to the active backend, in place; return the layer."""
        for value in self._arrays():
            value.data = to_device(to_host(value.data))
        return self

    def copy(self) -> Self:
        """Return a layer of equal values that shares nothing with this one."""
        return copy.deepcopy(self)

    def _arrays(self) -> Iterator[Parameter | Buffer]:
        for kind in (Parameter, Buffer):
            yield from (value for _, value in self._named(kind))

    def _check_parameters(self) -> None:
        first = next(self._arrays(), None)
        backend = active_backend()
        if first is not None and not isinstance(first.data, backend.ndarray):
            owner = type(first.data).__module__.partition(".")[0]
            raise BackendError(
                f"{self}: its parameters are {owner} arrays, but the active backend is {backend.name}; "
                f"call model.to_device(), or set_backend({owner!r})"
            )

    # ---- how a layer shows itself ---------------------------------------------------------------------

    def __repr__(self) -> str:
        """The call that made the layer: required arguments, and those that differ from their default."""
        shown = []
        for name, argument in inspect.signature(type(self)).parameters.items():
            if name not in ("rng", "initializer"):
                value = getattr(self, name)
                if name == "bias":
                    value = value is not None
                if argument.default is argument.empty:
                    shown.append(repr(value))
                elif value != argument.default:
                    shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __str__(self) -> str:
        return repr(self)


def _dotted(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def check_dtype(x: Array, parameter: Parameter, who: Layer) -> None:
    """Raise DtypeError unless x has the dtype of the layer's parameters."""
    wanted = parameter.data.dtype
    if x.dtype == wanted:
        return
    mend = f"pass x.astype({wanted.name!r})"
    if x.dtype.kind == "u":
        mend += " / 255 for 8-bit images"
    elif x.dtype.kind == "f":
        mend += f", or convert the model: model.astype({x.dtype.name!r})"
    raise DtypeError(f"{who}: expected {wanted.name} like its weight, got {x.dtype.name}; {mend}")
