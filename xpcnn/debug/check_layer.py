"""Does a layer keep the contract? The checks that the package's own layers pass, for anybody's."""

import copy
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from xpcnn.backend import to_device, to_host, use_backend, xp
from xpcnn.checkpoint import load_weights, save_weights
from xpcnn.debug.gradients import gradient_check
from xpcnn.errors import BackendError, BackwardError, ContractError, ShapeError
from xpcnn.layers import Layer, no_grad, one_pass

N = 3
"""Samples of a batch."""

Check = Callable[[Layer, Any], None]


def check_layer(
    layer: Layer, input_shape: Any, *, backends: tuple[str, ...] = ("numpy", "simulated")
) -> None:
    """Raise unless a layer keeps the contract of `xpcnn.layers.Layer`; the message says what to change.

    It checks copies of the layer, in training and in evaluation, on each of the backends that can run here: shapes and
    dtypes, gradients by differences, a dy of another shape, arguments that must not change, several places in one
    pass, sums of gradients, memory orders, copies, pickles, weights files, and equal results on all backends.

    Parameters
    ----------
    layer : Layer
        One whose values at a random input are away from kinks, as for `gradient_check`.
    input_shape : tuple of int, or a tuple of such tuples for several inputs
        Of one sample, without the batch axis.
    backends : names of backends
        Those that cannot run here are left out.

    Raises
    ------
    ContractError
        For the first check that fails.

    Examples
    --------
    >>> from xpcnn.layers import Conv
    >>> check_layer(Conv(2, 3, 3), (2, 5, 5))
    >>> class Forgetful(Conv):
    ...     def backward(self, dy, need_dx=True):
    ...         return super().backward(2 * dy, need_dx)
    >>> check_layer(Forgetful(2, 3, 3), (2, 5, 5))
    Traceback (most recent call last):
    xpcnn.errors.ContractError: Forgetful(2, 3, 3): the gradient of x by backward() is off by a factor ...
    """
    for backend in backends:
        with suppress(BackendError), use_backend(backend):
            for training in (True, False):
                for check in CHECKS:
                    check(_twin(layer).train(training), input_shape)
    for training in (True, False):
        check_backends(layer.copy().train(training), input_shape, backends)


# ---------------------------------------------------------------- the checks; each may change its layer


def check_shapes(layer: Layer, input_shape: Any) -> None:
    """y has the shape that output_shape() says, and dx that of x; their dtype is that of the parameters."""
    for dtype in ("float32", "float64"):
        own = _twin(layer).astype(dtype)
        x = inputs(input_shape, dtype)
        y = own(x)
        said, found = own.output_shape(input_shape), [tuple(part.shape[1:]) for part in _parts(y)]
        if not isinstance(y, (list, tuple)):
            _demand(
                found[0] == tuple(said),
                own,
                f"y is {found[0]} for one sample, output_shape() says {said}; let them agree",
            )
        _demand(
            all(len(part) == N for part in _parts(y)), own, "y does not keep the batch axis in front; keep it"
        )
        dx = own.backward(gradient_of(y))
        shapes = [tuple(part.shape) for part in _parts(dx)]
        wanted = [tuple(part.shape) for part in _parts(x)]
        _demand(
            shapes == wanted,
            own,
            f"backward() returns {shapes} for x of {wanted}; return dL/dx in the shape of x",
        )
        kinds = {"y": y, "dx": dx, **{name: p.grad for name, p in own.named_parameters()}}
        for name, arrays in kinds.items():
            for array in _parts(arrays):
                _demand(
                    array.dtype == dtype, own,
                    f"{name} is {array.dtype} where x and parameters are {dtype}; create arrays with x.dtype, and keep "
                    "numbers as Python floats",
                )  # fmt: skip


def check_gradients(layer: Layer, input_shape: Any) -> None:
    """backward() is the derivative of forward(), by central differences."""
    for name, error in gradient_check(layer, inputs(input_shape, "float64"), samples=30).items():
        _demand(
            error < 1e-6, layer,
            f"the gradient of {name} by backward() is off by a factor of {error:.1e} from differences of forward(); "
            "derive it again, and let add_gradient() have it",
        )  # fmt: skip


def check_other_gradients(layer: Layer, input_shape: Any) -> None:
    """A dy of another shape than y is a ShapeError."""
    x = inputs(input_shape)
    y = layer(x)
    first = _parts(y)[0]
    others = [first[:1], first[:, :, None] if first.ndim > 1 else first[None]]
    others += [first.swapaxes(-1, -2)] if first.ndim > 2 else []
    for other in others:
        if other.shape == first.shape:
            continue
        dy = [other, *_parts(y)[1:]] if isinstance(y, (list, tuple)) else other
        try:
            layer.backward(dy)
        except ShapeError:
            continue
        _demand(
            False,
            layer,
            f"backward() takes a dy of {other.shape} for y of {first.shape}; derive from xpcnn.layers.Layer",
        )


def check_need_dx(layer: Layer, input_shape: Any) -> None:
    """Without dx the parameters have the same gradients."""
    without, x = layer.copy(), inputs(input_shape)
    dy = gradient_of(layer(x))
    layer.backward(dy)
    without(x)
    without.backward(dy, need_dx=False)
    _demand(
        _equal(_gradients(layer), _gradients(without)), layer,
        "need_dx=False changes the gradients of the parameters; let it spare dx alone",
    )  # fmt: skip


def check_arguments(layer: Layer, input_shape: Any) -> None:
    """x, dy and the parameters are only read."""
    x = inputs(input_shape)
    with _unchanged(layer, x, "forward() writes into x; work on a copy"):
        y = layer(x)
    dy = gradient_of(y)
    with (
        _unchanged(layer, dy, "backward() writes into dy; work on a copy"),
        _unchanged(
            layer,
            tuple(p.data for p in layer.parameters()),
            "backward() changes a parameter; leave that to the optimizer",
        ),
    ):
        layer.backward(dy)


def check_matching(layer: Layer, input_shape: Any) -> None:
    """Each backward() belongs to one forward(); inside no_grad() nothing is saved, and no value changes."""
    x = inputs(input_shape)
    wanted = layer.copy()(x)
    with no_grad():
        found = layer(x)
        left = [name for name, part in layer.named_layers() if part._frames.stack]
    _demand(not left, layer, "forward() saves for backward inside no_grad(); use save_for_backward()")
    _demand(_equal(_host(found), _host(wanted)), layer, "no_grad() changes y; compute y without regard to it")
    dy = gradient_of(wanted)
    layer(x)
    layer.backward(dy)
    try:
        layer.backward(dy)
    except BackwardError:
        return
    _demand(False, layer, "backward() runs twice after one forward(); derive from xpcnn.layers.Layer")


def check_two_places(layer: Layer, input_shape: Any) -> None:
    """A layer in two places of one pass gets the sum of both gradients."""
    one, other = inputs(input_shape), inputs(input_shape, seed=1)
    first = layer.copy()
    y = first(one)
    second = first.copy()  # with the state that the first call has left, such as a counter
    dys = [gradient_of(y, 0), gradient_of(second(other), 1)]
    wanted = [first.backward(dys[0]), second.backward(dys[1])]
    with one_pass():
        layer(one)
        layer(other)
    found = [layer.backward(dy) for dy in dys[::-1]][::-1]
    advice = "keep what backward needs by save_for_backward(), not in attributes, and add gradients by add_gradient()"
    for dx, right in zip(found, wanted, strict=True):
        _demand(_close(_host(dx), _host(right)), layer, f"in two places of one pass dx is wrong; {advice}")
    sums = [a + b for a, b in zip(_gradients(first).values(), _gradients(second).values(), strict=True)]
    _demand(
        _close(list(_gradients(layer).values()), sums), layer,
        f"in two places of one pass the gradients are not the sum of both; {advice}",
    )  # fmt: skip


def check_sums(layer: Layer, input_shape: Any) -> None:
    """Gradients add up until an update ends the sum; then the next one replaces it."""
    x = inputs(input_shape)
    layer.backward(gradient_of(layer(x)))
    first, second, third = _gradients(layer), layer.copy(), layer.copy()
    second.zero_grad()
    for parameter in third.parameters():
        parameter.grad[...] = np.nan  # what an update has left
        parameter.end_sum()
    for twin in (layer, second, third):
        twin.backward(gradient_of(twin(x)))
    for name, found in _gradients(layer).items():
        right, replaced = _gradients(second)[name], _gradients(third)[name]
        _demand(
            _close([found], [first[name] + right]),
            layer,
            f"two gradients of {name} do not add up; use add_gradient()",
        )
        _demand(
            _close([replaced], [right]), layer,
            f"the first gradient of {name} after an update does not replace the previous sum; use add_gradient()",
        )  # fmt: skip


def check_memory_orders(layer: Layer, input_shape: Any) -> None:
    """The order of x and dy in memory changes nothing but rounding."""
    runs = []
    for order in (_contiguous, _reversed, _spread):
        twin = layer.copy()
        y = twin(_map(order, inputs(input_shape)))
        dx = twin.backward(_map(order, gradient_of(y)))
        runs.append([*_host(y), *_host(dx), *_gradients(twin).values()])
    for run in runs[1:]:
        _demand(
            _close(run, runs[0]), layer, "the order of x in memory changes the result; do not rely on strides"
        )


def check_copies(layer: Layer, input_shape: Any) -> None:
    """A copy, and one that was pickled, computes the same and shares nothing."""
    x = inputs(input_shape)
    layer.backward(gradient_of(layer(x)))  # state beyond the first
    for kind, duplicate in (
        ("copy.deepcopy()", copy.deepcopy),
        ("pickle", _pickled),
    ):
        try:
            twin = duplicate(layer)
        except Exception as error:
            if kind == "pickle" and any(
                "<locals>" in type(part).__qualname__ for _, part in layer.named_layers()
            ):
                continue  # a class inside a function has no name to be found by
            raise ContractError(
                f"{layer}: {kind} fails ({error}); keep no open files or functions in attributes"
            ) from error
        for (_, mine), (_, its) in zip(layer.named_parameters(), twin.named_parameters(), strict=True):
            _demand(
                mine.data is not its.data,
                layer,
                f"{kind} shares a parameter; define no __deepcopy__ that does",
            )
        again = copy.deepcopy(layer)
        _demand(
            _equal(_host(twin(x)), _host(again(x))),
            layer,
            f"{kind} computes another y; keep all state in attributes",
        )


def check_files(layer: Layer, input_shape: Any) -> None:
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
    _demand(
        _equal(_host(other(x)), _host(layer(x))), layer,
        "saved and loaded it computes another y; keep arrays in Parameter or Buffer, the rest in extra_state()",
    )  # fmt: skip


def check_addresses(layer: Layer, input_shape: Any) -> None:
    """Parameters, gradients and buffers are the same arrays after a pass: a recorded step sees them change."""
    named: list[tuple[str, Any]] = [*layer.named_parameters(), *layer.named_buffers()]
    held = [(name, value, value.data) for name, value in named]
    layer.backward(gradient_of(layer(inputs(input_shape))))
    for name, value, array in held:
        _demand(
            value.data is array,
            layer,
            f"{name} is another array after a pass; write into it: buffer.data[...] = new",
        )


def check_text(layer: Layer, input_shape: Any) -> None:
    """repr() and str() say something, and names are in a fixed order."""
    for kind, text in (("repr", repr(layer)), ("str", str(layer)), ("format", f"{layer}")):
        _demand(
            isinstance(text, str) and bool(text),
            layer,
            f"{kind}() is empty; return the call that makes the layer",
        )
    names = [name for name, _ in layer.named_parameters()]
    _demand(
        names == [name for name, _ in layer.copy().named_parameters()],
        layer,
        "names change; keep layers in a fixed order",
    )
    layer.summary(input_shape)


def check_backends(
    layer: Layer, input_shape: Any, backends: tuple[str, ...] = ("numpy", "simulated")
) -> None:
    """All backends that can run here give the same y and the same gradients, to rounding."""
    runs = {}
    for backend in backends:
        with suppress(BackendError), use_backend(backend):
            twin = _twin(layer)
            y = twin(inputs(input_shape))
            dx = twin.backward(gradient_of(y))
            runs[backend] = [*_host(y), *_host(dx), *_gradients(twin).values()]
    first = next(iter(runs), "")
    for backend, run in runs.items():
        _demand(
            _close(run, runs[first]), layer,
            f"{backend} gives another result than {first}; compute with xp, without random numbers of your own",
        )  # fmt: skip


CHECKS: tuple[Check, ...] = (
    check_text, check_shapes, check_other_gradients, check_arguments, check_matching, check_gradients, check_need_dx,
    check_sums, check_two_places, check_memory_orders, check_addresses, check_copies, check_files,
)  # fmt: skip
"""All but `check_backends`; each takes a layer of the active backend, which it may change, and an input shape."""


# ---------------------------------------------------------------- inputs, and comparing


def inputs(shape: Any, dtype: str = "float32", seed: int = 0) -> Any:
    """Return N samples on the active device: values far from each other and from zero, in a random order."""
    if shape and isinstance(shape[0], tuple):
        return tuple(inputs(part, dtype, seed + index) for index, part in enumerate(shape))
    size = N * int(np.prod(shape))
    values = (np.random.default_rng(seed).permutation(size) - size // 2 + 0.5) * (4 / max(size, 32))
    return to_device(values.reshape(N, *shape).astype(dtype))


def gradient_of(y: Any, seed: int = 0) -> Any:
    """Return a random dL/dy on the active device."""
    if isinstance(y, (list, tuple)):
        return [gradient_of(part, seed + index) for index, part in enumerate(y)]
    return to_device(np.random.default_rng(seed).standard_normal(y.shape).astype(y.dtype))


def _pickled(layer: Layer) -> Any:
    return pickle.loads(pickle.dumps(layer))


def _twin(layer: Layer) -> Layer:
    return layer.copy().to_device()


def _demand(kept: Any, layer: Layer, message: str) -> None:
    if not kept:
        raise ContractError(f"{layer}: {message}")


def _parts(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _map(function: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(function(part) for part in value)
    return function(value)


def _host(value: Any) -> list[np.ndarray]:
    return [to_host(part).copy() for part in _parts(value)]


def _gradients(layer: Layer) -> dict[str, np.ndarray]:
    return {name: to_host(parameter.grad).copy() for name, parameter in layer.named_parameters()}


def _equal(one: Any, other: Any) -> bool:
    one, other = (list(side.values()) if isinstance(side, dict) else side for side in (one, other))
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _close(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    """Equal to rounding, as measured by the largest element of each array, or a hundredth of the largest of all."""
    least = 1e-2 * max((float(np.abs(b).max(initial=0)) for b in other), default=0.0) or 1e-30
    return len(one) == len(other) and all(
        a.shape == b.shape and np.abs(a - b).max(initial=0) <= 1e-4 * max(np.abs(b).max(initial=0), least)
        for a, b in zip(one, other, strict=True)
    )


@contextmanager
def _unchanged(layer: Layer, arrays: Any, message: str) -> Iterator[None]:
    before = _host(arrays)
    yield
    _demand(_equal(before, _host(arrays)), layer, message)


def _contiguous(array: Any) -> Any:
    return xp.ascontiguousarray(array)


def _reversed(array: Any) -> Any:
    """The axes in memory in reverse order."""
    return xp.ascontiguousarray(array.T).T


def _spread(array: Any) -> Any:
    """Every second element of a larger array."""
    larger = xp.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    larger[..., ::2] = array
    return larger[..., ::2]
