"""The checks of `check_layer`, each of a few lines: what a layer must do, and what to change if it does not."""

import copy
import functools
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from xpcnn.backend import use_backend, xp
from xpcnn.checkpoint import load_weights, save_weights
from xpcnn.debug._arrays import (
    N,
    close,
    equal,
    gradient_of,
    gradients,
    host,
    inputs,
    parts,
    results,
    reversed_axes,
    strided,
)
from xpcnn.debug.gradients import both_gradients
from xpcnn.errors import BackendError, BackwardError, ContractError, ShapeError
from xpcnn.layers import Layer, no_grad, one_pass

Demands: TypeAlias = Iterator[tuple[Any, str]]
"""Whether a layer keeps a rule, and the message if it does not: what fails, and how to fix it."""

CHECKS: list[Callable[[Layer, Any], None]] = []
"""All but `check_backends`; each takes a layer of the active backend, which it may change, and an input shape."""


def _demanded(check: Callable[..., Demands]) -> Callable[..., None]:
    """Let a check raise ContractError for the first of its demands that the layer fails."""

    @functools.wraps(check)
    def raising(layer: Layer, *arguments: Any) -> None:
        for kept, message in check(layer, *arguments):
            if not kept:
                raise ContractError(f"{layer}: {message}")

    return raising


def _check(check: Callable[[Layer, Any], Demands]) -> Callable[[Layer, Any], None]:
    CHECKS.append(_demanded(check))
    return CHECKS[-1]


@_check
def check_shapes(layer: Layer, input_shape: Any) -> Demands:
    """y has the shape that output_shape() says, and dx that of x; their dtype is that of the parameters."""
    for dtype in ("float32", "float64"):
        own = _twin(layer).astype(dtype)
        x = inputs(input_shape, dtype)
        y = own(x)
        arrays = parts(y) and all(hasattr(part, "shape") for part in parts(y))
        yield arrays, f"forward() returns {y!r:.40}; return y, an array or a list of them"
        said, found = own.output_shape(input_shape), [tuple(part.shape[1:]) for part in parts(y)]
        yield (
            isinstance(y, (list, tuple)) or found[0] == tuple(said),
            f"forward() returns {found[0]} for each sample, but output_shape() says {said}; correct one of them",
        )
        lengths = [len(part) for part in parts(y)]
        yield (
            set(lengths) == {N},
            f"forward() returns {lengths} rows for {N} samples; keep the batch axis the first",
        )
        dx = own.backward(gradient_of(y))
        shapes, wanted = ([getattr(part, "shape", None) for part in parts(value)] for value in (dx, x))
        yield (
            shapes == wanted,
            f"backward() returns a dx of {_list(shapes)} for x of {_list(wanted)}; return dL/dx, in the shape of x",
        )
        for name, value in {"y": y, "dx": dx, **{n: p.grad for n, p in own.named_parameters()}}.items():
            for array in parts(value):
                yield (
                    array.dtype == dtype,
                    f"{name} is {array.dtype}, but x and the parameters are {dtype}; create arrays with x.dtype, and "
                    "keep numbers as Python floats",
                )


@_check
def check_text(layer: Layer, input_shape: Any) -> Demands:
    """repr() and str() return text, and names are in a fixed order."""
    for kind, text in (("repr", repr(layer)), ("str", str(layer)), ("format", f"{layer}")):
        yield text, f"{kind}() returns nothing; leave it out, or return the call that makes the layer"
    names, again = ([name for name, _ in twin.named_parameters()] for twin in (layer, layer.copy()))
    yield names == again, f"its parameters are {names}, those of a copy {again}; keep layers in a fixed order"
    layer.summary(input_shape)


@_check
def check_other_gradients(layer: Layer, input_shape: Any) -> Demands:
    """A dy of another shape than y is a ShapeError."""
    y = layer(inputs(input_shape))
    first = parts(y)[0]
    others = [first[:1], first[:, :, None] if first.ndim > 1 else first[None]]
    others += [first.swapaxes(-1, -2)] if first.ndim > 2 else []
    for other in others:
        refused = other.shape == first.shape
        with suppress(ShapeError):
            if not refused:
                refused = True
                layer.backward([other, *parts(y)[1:]] if isinstance(y, (list, tuple)) else other)
                refused = False
        yield (
            refused,
            f"backward() takes a dy of {other.shape} for y of {first.shape}; derive the class from xpcnn.layers.Layer",
        )


@_check
def check_arguments(layer: Layer, input_shape: Any) -> Demands:
    """x, dy and the parameters are only read."""
    x = inputs(input_shape)
    before = host(x)
    y = layer(x)
    yield equal(before, host(x)), "forward() changes x; write y into a new array: y = 2 * x, not x *= 2"
    dy = gradient_of(y)
    data = [parameter.data for parameter in layer.parameters()]
    before, parameters = host(dy), host(data)
    layer.backward(dy)
    yield (
        equal(before, host(dy)),
        "backward() changes dy; write dx into a new array: dx = 2 * dy, not dy *= 2",
    )
    yield equal(parameters, host(data)), "backward() changes a parameter; only an optimizer may do that"


@_check
def check_copies(layer: Layer, input_shape: Any) -> Demands:
    """A copy, and one that was pickled, computes the same and shares nothing."""
    x = inputs(input_shape)
    layer.backward(gradient_of(layer(x)))  # now its state is not the first
    known = all(_can_be_pickled(type(inner)) for _, inner in layer.named_layers())
    for kind, duplicate in (("copy.deepcopy()", copy.deepcopy), ("pickle", _pickled)):
        try:
            twin = duplicate(layer)
        except Exception as error:
            if kind == "pickle" and not known:
                continue  # pickle finds classes by the name of their module, so none that a function defines
            raise ContractError(
                f"{layer}: {kind} fails ({error}); keep no open files or functions in attributes"
            ) from error
        for (name, mine), (_, its) in zip(layer.named_parameters(), twin.named_parameters(), strict=True):
            yield mine.data is not its.data, f"{kind} shares {name} with the original; leave out __deepcopy__"
        again = copy.deepcopy(layer)
        yield (
            equal(host(twin(x)), host(again(x))),
            f"after {kind} it computes another y; keep all state in attributes of the layer",
        )


@_check
def check_matching(layer: Layer, input_shape: Any) -> Demands:
    """Each backward() belongs to one forward(); inside no_grad() nothing is saved, and no value changes."""
    x = inputs(input_shape)
    wanted = layer.copy()(x)
    with no_grad():
        found = layer(x)
        left = [name for name, inner in layer.named_layers() if inner._frames.stack]
    yield not left, "forward() saves for backward inside no_grad(); save with save_for_backward()"
    yield equal(host(found), host(wanted)), "no_grad() changes y; compute the same y inside and outside of it"
    dy = gradient_of(wanted)
    layer(x)
    layer.backward(dy)
    refused = True
    with suppress(BackwardError):
        layer.backward(dy)
        refused = False
    yield (
        refused,
        "backward() runs twice after one forward(); take what forward saved with pop_saved(), and derive the class "
        "from xpcnn.layers.Layer",
    )


@_check
def check_gradients(layer: Layer, input_shape: Any) -> Demands:
    """backward() is the derivative of forward(), by central differences."""
    for name, gradient in both_gradients(layer, inputs(input_shape, "float64"), 1e-5, 30, 0).items():
        yield gradient.error < 1e-6, gradient.fault(name, N)


@_check
def check_need_dx(layer: Layer, input_shape: Any) -> Demands:
    """Without dx the parameters have the same gradients."""
    without, x = layer.copy(), inputs(input_shape)
    dy = gradient_of(layer(x))
    layer.backward(dy)
    without(x)
    without.backward(dy, need_dx=False)
    for (name, one), other in zip(gradients(layer).items(), gradients(without).values(), strict=True):
        yield (
            np.array_equal(one, other),
            f"need_dx=False changes the gradients of the parameters, that of {name} first; leave out dx alone",
        )


@_check
def check_sums(layer: Layer, input_shape: Any) -> Demands:
    """Gradients add up until an update ends the sum; then the next one replaces it."""
    x = inputs(input_shape)
    layer.backward(gradient_of(layer(x)))
    first, second, third = gradients(layer), layer.copy(), layer.copy()
    second.zero_grad()
    for parameter in third.parameters():
        parameter.grad[...] = np.nan  # as an update leaves it
        parameter.end_sum()
    for twin in (layer, second, third):
        twin.backward(gradient_of(twin(x)))
    fix = "give every gradient to add_gradient(), and do not write into grad"
    for name, found in gradients(layer).items():
        right, replaced = gradients(second)[name], gradients(third)[name]
        yield close([found], [first[name] + right]), f"two gradients of {name} do not add up; {fix}"
        yield (
            close([replaced], [right]),
            f"the first gradient of {name} after an update does not replace the previous sum; {fix}",
        )


@_check
def check_two_places(layer: Layer, input_shape: Any) -> Demands:
    """A layer in two places of one pass gets the sum of both gradients."""
    one, other = inputs(input_shape), inputs(input_shape, seed=1)
    first = layer.copy()
    y = first(one)
    second = first.copy()  # with the state that the first call leaves, such as a counter
    dys = [gradient_of(y, 0), gradient_of(second(other), 1)]
    wanted = [first.backward(dys[0]), second.backward(dys[1])]
    with one_pass():
        layer(one)
        layer(other)
    found = [layer.backward(dy) for dy in dys[::-1]][::-1]
    fix = "keep what backward needs with save_for_backward(), not in attributes, and use add_gradient()"
    for dx, right in zip(found, wanted, strict=True):
        yield close(host(dx), host(right)), f"used in two places of a network it returns a wrong dx; {fix}"
    for name, gradient in gradients(layer).items():
        yield (
            close([gradient], [gradients(first)[name] + gradients(second)[name]]),
            f"used in two places of a network the gradient of {name} is not the sum of both; {fix}",
        )


@_check
def check_memory_orders(layer: Layer, input_shape: Any) -> Demands:
    """The order of x and dy in memory changes nothing but rounding."""
    usual = results(layer.copy(), input_shape, xp.ascontiguousarray)
    for order in (reversed_axes, strided):
        yield (
            close(results(layer.copy(), input_shape, order), usual),
            "the order of x in memory changes the result; do not rely on flags or strides",
        )


@_check
def check_addresses(layer: Layer, input_shape: Any) -> Demands:
    """Parameters and buffers are the same arrays after a pass, so that a recorded step finds them."""
    named: list[tuple[str, Any]] = [*layer.named_parameters(), *layer.named_buffers()]
    held = [(name, value, value.data) for name, value in named]
    layer.backward(gradient_of(layer(inputs(input_shape))))
    for name, value, array in held:
        yield (
            value.data is array,
            f"{name} is another array after a pass; write into it: self.{name}.data[...] = new",
        )


@_check
def check_files(layer: Layer, input_shape: Any) -> Demands:
    """Weights and extra state that are saved and loaded into a new layer give the same y."""
    x = inputs(input_shape)
    layer.backward(gradient_of(layer(x)))
    other = copy.deepcopy(layer)
    for array in other._arrays():
        if array.data.dtype.kind == "f":
            array.data[...] = 0
    with tempfile.TemporaryDirectory() as folder:
        save_weights(layer, Path(folder, "weights.safetensors"))
        load_weights(other, Path(folder, "weights.safetensors"))
    for (_, mine), (_, its) in zip(layer.named_layers(), other.named_layers(), strict=True):
        its.load_extra_state(mine.extra_state())
    yield (
        equal(host(other(x)), host(layer(x))),
        "saved and loaded it computes another y; keep arrays in Parameter or Buffer, and what is not an array in "
        "extra_state()",
    )


@_demanded
def check_backends(
    layer: Layer, input_shape: Any, backends: tuple[str, ...] = ("numpy", "simulated")
) -> Demands:
    """All backends that can run here give the same y and the same gradients, to rounding."""
    runs = {}
    for backend in backends:
        with suppress(BackendError), use_backend(backend):
            runs[backend] = results(_twin(layer), input_shape)
    first = next(iter(runs), "")
    for backend, run in runs.items():
        yield (
            close(run, runs[first]),
            f"{backend} gives another result than {first}; compute with xp, without random numbers of your own",
        )


def _list(shapes: list[Any]) -> str:
    return " and ".join(map(str, shapes))


def _pickled(layer: Layer) -> Any:
    return pickle.loads(pickle.dumps(layer))


def _can_be_pickled(kind: type) -> bool:
    try:
        return bool(pickle.dumps(kind))
    except Exception:
        return False


def _twin(layer: Layer) -> Layer:
    return layer.copy().to_device()
