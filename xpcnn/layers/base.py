"""The base of all layers: forward, backward, parameters with gradients, and shapes known before any data."""

import copy
import reprlib
from collections.abc import Iterator
from typing import Any, Self, TypeAlias

from xpcnn.backend import Array, active_backend, check_array, to_device, to_host
from xpcnn.errors import BackendError, BackwardError, CheckpointError, DtypeError
from xpcnn.layers.parameter import Buffer, Parameter
from xpcnn.layers.passes import FramesOf, checked, missing, recorded, under_way
from xpcnn.layers.representation import shown_arguments, tree
from xpcnn.layers.shapes import Shape, of_zeros, walk_of_zeros
from xpcnn.layers.summary import Summary
from xpcnn.layers.tree import HOLDERS, dotted, found, replaced, resolve

Inputs: TypeAlias = Any
"""One array, or a tuple of them."""

INTERNAL = frozenset({"_frames", "_steps", "_shapes"})
"""Attributes that hold no children, and that copies do not get."""


class Layer:
    """One differentiable step: forward maps x to y, backward maps dL/dy to dL/dx.

    A layer is called like a function, ``y = layer(x)``, and then ``dx = layer.backward(dy)`` once. To write one, define

    * ``forward(self, x)``, which returns y and keeps what backward needs by ``save_for_backward(...)``;
    * ``backward(self, dy, need_dx=True)``, which takes it by ``pop_saved()``, gives each parameter its gradient by
      ``parameter.add_gradient(...)``, and returns dL/dx. With ``need_dx=False`` it may return None.

    Parameters (`Parameter`), buffers (`Buffer`) and layers inside are found wherever they are kept: in attributes,
    lists, tuples and dictionaries. x may be a tuple of arrays; backward then returns as many.
    `xpcnn.check_layer` checks whether a layer keeps the whole contract.

    Examples
    --------
    >>> import numpy as np
    >>> class Double(Layer):
    ...     def forward(self, x):
    ...         return 2 * x
    ...
    ...     def backward(self, dy, need_dx=True):
    ...         return 2 * dy
    >>> layer = Double()
    >>> layer(np.ones(2)), layer.backward(np.ones(2)), layer
    (array([2., 2.]), array([2., 2.]), Double())
    """

    training = True
    _frames = FramesOf()

    def __init_subclass__(cls, **options: Any) -> None:
        """Let the layer's forward and backward keep track of passes; see `xpcnn.layers.passes`."""
        super().__init_subclass__(**options)
        for name, wrapped in (("forward", recorded), ("backward", checked)):
            if name in vars(cls):
                setattr(cls, name, wrapped(vars(cls)[name]))

    def __call__(self, x: Inputs) -> Any:
        """Check that x is where the model is, then run forward. The outermost call begins a pass.

        Raises
        ------
        BackendError
            If x or the parameters are arrays of another backend than the active one.
        ShapeError, DtypeError
            If a layer cannot take x; the message names the layer and the fix.
        """
        if under_way() is None:
            for array in x if isinstance(x, tuple) else (x,):
                check_array(array, self)
            self._check_parameters()
        return self.forward(x)

    def forward(self, x: Inputs) -> Any:
        """Return y, saving for backward what it needs."""
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        """Return dL/dx from dL/dy, and add dL/dtheta to the gradients.

        Raises
        ------
        BackwardError
            If there was no forward() before, or one inside no_grad().
        ShapeError, DtypeError
            If dy has not the shape and the dtype of y.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward()")

    def save_for_backward(self, *values: Any) -> None:
        """Keep values for the matching backward(); inside no_grad() keep nothing. Call it in forward()."""
        if stack := self._frames.stack:
            stack[-1].saved.append(values)

    def pop_saved(self) -> tuple[Any, ...]:
        """Return what forward saved last and forget it, so activations are freed as backpropagation proceeds."""
        stack = self._frames.stack
        if not stack or not stack[-1].saved:
            raise BackwardError(missing(self))
        return stack[-1].saved.pop()

    # ---- shapes ------------------------------------------------------------------------------------

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of y for one sample, without the batch axis: ``(C, H, W)`` -> ``(O, OH, OW)``.

        A layer may say it in integers. Where it does not, the shape is that of one pass of zeros on the host.
        """
        return of_zeros(self, input_shape)

    def multiply_adds(self, input_shape: Shape) -> int:
        """Return the multiplications (each with an addition) of forward, for one sample."""
        return sum(
            layer.multiply_adds(shape) for _, layer, shape in self.walk(input_shape) if layer is not self
        )

    def walk(self, input_shape: Shape, name: str = "") -> Iterator[tuple[str, "Layer", Shape]]:
        """Yield (dotted name, layer, input shape) for every layer that holds no others, in forward order."""
        if next(self.children(), None) is None:
            yield name, self, input_shape
        else:
            yield from walk_of_zeros(self, input_shape, name)

    def summary(self, input_shape: Shape, depth: int | None = None) -> Summary:
        """Return a table of output shapes, parameters and multiply-adds for one sample of `input_shape`.

        With `depth` it opens containers so many levels deep and no further: 1 shows a residual network's stages.
        """
        return Summary.of(self, tuple(input_shape), depth)

    # ---- parameters, buffers, layers within layers --------------------------------------------------

    def children(self) -> Iterator[tuple[str, "Layer"]]:
        """Yield (name, layer) for the layers directly inside this one; one kept in a list is ``blocks.0``."""
        return self._kept(Layer)

    def _kept(self, kind: type[Any]) -> Iterator[tuple[str, Any]]:
        """Yield (name, object) for each object of a kind in the attributes of this layer alone."""
        wanted = (kind, *HOLDERS)
        for name, value in list(vars(self).items()):
            if isinstance(value, wanted) and name not in INTERNAL:
                yield from found(name, value, kind)

    def named_layers(self, prefix: str = "") -> Iterator[tuple[str, "Layer"]]:
        """Yield (dotted name, layer) for this layer and all inside it, each once, in a fixed order."""
        return self._below(prefix, set(), steps=False)

    def named_steps(self, prefix: str = "") -> Iterator[tuple[str, "Layer"]]:
        """Yield what `named_layers` does, with fused layers in place of those that they compute."""
        return self._below(prefix, set(), steps=True)

    def step_children(self) -> Iterator[tuple[str, "Layer"]]:
        """Yield (name, layer) for the layers that this layer runs: its children, unless it fuses some of them."""
        return self.children()

    def _below(self, prefix: str, seen: set[int], steps: bool) -> Iterator[tuple[str, "Layer"]]:
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, child in self.step_children() if steps else self.children():
            yield from child._below(dotted(prefix, name), seen, steps)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (dotted name, parameter), in a fixed order; a shared one once, under its first name."""
        return self._named(Parameter)

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Yield (dotted name, buffer), in a fixed order."""
        return self._named(Buffer)

    def parameters(self) -> list[Parameter]:
        """Return all parameters, for an optimizer."""
        return [parameter for _, parameter in self.named_parameters()]

    def _named(self, kind: type[Any]) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for prefix, layer in self.named_layers():
            for name, array in layer._kept(kind):
                if id(array) not in seen:
                    seen.add(id(array))
                    yield dotted(prefix, name), array

    def __getitem__(self, name: Any) -> Any:
        """Return the layer of a dotted name; names of containers in between may be left out."""
        layers = dict(self.named_layers())
        return layers[resolve(name, layers, self)]

    def __setitem__(self, name: Any, layer: "Layer") -> None:
        """Put another layer in the place of the one of this name."""
        if not isinstance(layer, Layer):
            raise DtypeError(
                f"{self}: expected a layer for {name!r}, got {layer!r:.60}; pass Affine(...), say"
            )
        path = resolve(name, dict(self.named_layers()), self)
        for own, child in self.children():
            if path == own:
                self._replace_child(own, layer)
            elif path.startswith(f"{own}."):
                child[path[len(own) + 1 :]] = layer
            else:
                continue
            return

    def _replace_child(self, name: str, layer: "Layer") -> None:
        attribute, *path = name.split(".")
        setattr(self, attribute, replaced(getattr(self, attribute), path, layer))

    def __setattr__(self, name: str, value: Any) -> None:
        held = vars(self).get(name)
        if isinstance(held, (Parameter, Buffer)) and hasattr(value, "shape") and hasattr(value, "dtype"):
            raise DtypeError(
                f"{self}: {name} is a {type(held).__name__}, got an array; write into it: "
                f"layer.{name}.data[...] = array"
            )
        super().__setattr__(name, value)

    def train(self, training: bool = True) -> Self:
        """Let this layer and all inside it behave as in training; return the layer."""
        for _, layer in self.named_layers():
            layer.training = training
        return self

    def eval(self) -> Self:
        """Let this layer and all inside it behave as in evaluation: no dropout, running statistics."""
        return self.train(False)

    def freeze(self) -> Self:
        """Keep all parameters inside as they are: backward and optimizers leave them alone. Return the layer.

        Running statistics are no parameters: call ``layer.eval()`` as well to hold those of `BatchNorm`.
        """
        for parameter in self.parameters():
            parameter.trainable = False
        return self

    def unfreeze(self) -> Self:
        """Let all parameters inside be trained again; return the layer."""
        for parameter in self.parameters():
            parameter.trainable = True
        return self

    def zero_grad(self) -> None:
        """Set all gradients to zero; for loops without an optimizer, whose step() ends the sum of gradients."""
        for parameter in self.parameters():
            parameter.zero_grad()

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

    def extra_state(self) -> dict[str, Any]:
        """Return what training needs to continue beside parameters and buffers, in a form that JSON can hold."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what `extra_state` returned.

        Raises
        ------
        CheckpointError
            For state that this layer does not have.
        """
        if state:
            raise CheckpointError(
                f"{self}: has no extra state, got {', '.join(state)}; define load_extra_state()"
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies and pickles: all attributes but those of a pass."""
        return {name: value for name, value in vars(self).items() if name not in INTERNAL}

    def _arrays(self) -> Iterator[Parameter | Buffer]:
        for kind in (Parameter, Buffer):
            yield from (value for _, value in self._named(kind))

    def _first_array(self) -> Parameter | Buffer | None:
        """Return an array of this layer or of one inside: every call of a model looks at it."""
        for _, layer in self.named_layers():
            for value in list(vars(layer).values()):
                if isinstance(value, (Parameter, Buffer)):
                    return value
        return next(self._arrays(), None)  # one in a list

    def _check_parameters(self) -> None:
        first, backend = self._first_array(), active_backend()
        if first is not None and not isinstance(first.data, backend.ndarray):
            owner = type(first.data).__module__.partition(".")[0]
            raise BackendError(
                f"{self}: its parameters are {owner} arrays, but the active backend is {backend.name}; "
                f"call model.to_device(), or set_backend({owner!r})"
            )

    # ---- how a layer shows itself ---------------------------------------------------------------------

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        """The call that made the layer: required arguments, and those that differ from their default; layers inside."""
        inside = [(name, repr(child)) for name, child in self.children()]
        return tree(type(self).__name__, shown_arguments(self), inside)

    def __format__(self, spec: str) -> str:
        """One line, for messages: ``f"{layer}"``. ``print(layer)`` shows the whole tree."""
        inside = sum(1 for _ in self.named_layers()) - 1
        line = f"{type(self).__name__} of {inside} layers" if inside else " ".join(repr(self).split())
        return format(line, spec)


def check_dtype(x: Array, parameter: Parameter, who: Layer) -> None:
    """Raise DtypeError unless x has the dtype of the layer's parameters."""
    wanted = parameter.data.dtype
    if x.dtype == wanted:
        return
    fix = f"pass x.astype({wanted.name!r})"
    if x.dtype.kind == "u":
        fix += " / 255 for 8-bit images"
    elif x.dtype.kind == "f":
        fix += f", or convert the model: model.astype({x.dtype.name!r})"
    raise DtypeError(f"{who}: expected {wanted.name} like its weight, got {x.dtype.name}; {fix}")
