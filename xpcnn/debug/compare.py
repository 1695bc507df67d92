"""Two backends side by side: the first step and the first layer at which they diverge, with the numbers.

Both start with the same weights and train on the same batches. After every step all results are compared in the order
in which they were computed: outputs, the loss, gradients, then the parameters after the update.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from xpcnn import data, models, optimizers
from xpcnn.backend import Backend, to_device, to_host, use_backend
from xpcnn.debug.tracing import traced
from xpcnn.errors import BackendError
from xpcnn.kernels import CHOICES
from xpcnn.layers import Layer, Parameter
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.training import step


class Quantity(NamedTuple):
    """A result of a step: the layer, what it is, and its values on the host."""

    layer: str
    what: str
    values: np.ndarray


class Difference(NamedTuple):
    """The largest difference of two backends in one quantity, and the element where it is."""

    step: int
    layer: str
    what: str
    relative: float
    """max |a - b| / max(|a|, |b|) over the elements; infinite where one of them is not finite."""
    place: tuple[int, ...]
    first: float
    second: float


class Comparison(NamedTuple):
    """The first difference above the tolerance, or None; and the largest below it."""

    backends: tuple[str, str]
    tolerance: float
    steps: int
    diverged: Difference | None
    largest: Difference


class Contestant:
    """Model, optimizer and criterion of one backend, all by name; "numpy:reference" is NumPy without its kernels."""

    def __init__(
        self, backend: str, model: str, optimizer: str, input_shape: tuple[int, int, int], seed: int
    ) -> None:
        self.backend = backend
        with running(backend):
            rng = np.random.default_rng(seed)
            self.model: Layer = models.BY_NAME[model](10, rng, input_shape=input_shape)
            self.optimizer = optimizers.BY_NAME[optimizer](self.model.parameters())
            self.criterion = SoftmaxCrossEntropy()

    def step(self, images: np.ndarray, labels: np.ndarray) -> list[Quantity]:
        """Train on one batch, and return all that it computed."""
        quantities: list[Quantity] = []

        def add(layer: str, what: str, values: Any) -> None:
            quantities.append(Quantity(layer, what, to_host(values).copy()))

        def leave(name: str, layer: Layer, direction: str, result: Any) -> None:
            shown = f"{name} {layer}".strip()
            if direction == "forward":
                add(shown, "output", result)
                return
            if result is not None:
                add(shown, "gradient of its input", result)
            for parameter, value in vars(layer).items():
                if isinstance(value, Parameter):
                    add(shown, f"gradient of {parameter}", value.grad)

        def after(phase: str, value: Any) -> None:
            if what := {"loss": "loss", "loss backward": "gradient of the logits"}.get(phase):
                add("criterion", what, value)

        with running(self.backend):
            with traced(self.model, leave=leave):
                step(self.model, self.criterion, self.optimizer, to_device(images), to_device(labels), after)
            arrays: list[tuple[str, Any]] = [*self.model.named_parameters(), *self.model.named_buffers()]
            for name, array in arrays:
                add(name, "value after the step", array.data)
        return quantities


@contextmanager
def running(name: str) -> Iterator[Backend]:
    """Activate a backend by its name inside a ``with`` block.

    "name:reference" is that backend without its kernels, "name:pure" without those that Numba compiles.

    Raises
    ------
    BackendError
        For kernels other than "tuned", "pure" and "reference", or a backend that cannot run here.
    """
    backend, _, kernels = name.rpartition(":")
    if kernels.isdecimal() or not backend:  # cupy:1 is the second GPU
        backend, kernels = name, ""
    if kernels and kernels not in CHOICES:
        raise BackendError(
            f"compare: kernels {kernels!r} of {name!r} are unknown; write one of: {', '.join(CHOICES)}"
        )
    with use_backend(backend, kernels or None) as active:
        yield active


def compare(
    backends: tuple[str, str],
    model: str = "simple",
    *,
    optimizer: str = "momentum",
    steps: int = 20,
    batch_size: int = 20,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> Comparison:
    """Train a model on the first images of MNIST on two backends; stop at the first difference above the tolerance.

    The step of the default optimizer is proportional to the gradient. Adam divides by the size of the gradient, so
    where that is nearly zero a difference in the last bit becomes a whole step. The images get noise of less than a
    grey level: without it neighbouring pixels are equal, and the last bit decides which of them is the maximum.

    Raises
    ------
    BackendError
        If one of them cannot run here.
    """
    images, labels = data.load("mnist", quiet=True).train
    contestants = [Contestant(name, model, optimizer, images.shape[1:], seed) for name in backends]
    feed = data.batches(images[: steps * batch_size], labels[: steps * batch_size], batch_size)
    largest = Difference(0, "", "nothing", 0.0, (), 0.0, 0.0)
    rng = np.random.default_rng(seed)
    for number, (x, t) in enumerate(feed, start=1):
        x = x + rng.uniform(0, 1 / 255, x.shape).astype(x.dtype)
        for first, second in zip(*(contestant.step(x, t) for contestant in contestants), strict=True):
            found = difference(number, first, second)
            if found.relative > tolerance:
                return Comparison(backends, tolerance, number, found, largest)
            largest = max(largest, found, key=lambda item: item.relative)
    return Comparison(backends, tolerance, steps, None, largest)


def difference(step: int, first: Quantity, second: Quantity) -> Difference:
    """Measure the largest difference of two quantities, relative to the largest element of both.

    >>> difference(
    ...     1,
    ...     Quantity("conv", "output", np.array([4.0, 2.0])),
    ...     Quantity("conv", "output", np.array([4.0, 1.0])),
    ... )
    Difference(step=1, layer='conv', what='output', relative=0.25, place=(1,), first=2.0, second=1.0)
    """
    a, b = (quantity.values.astype(np.float64) for quantity in (first, second))
    if a.shape != b.shape:
        return Difference(
            step, first.layer, f"{first.what}: shapes {a.shape} and {b.shape}", np.inf, (), np.nan, np.nan
        )
    if a.size == 0:
        return Difference(step, first.layer, first.what, 0.0, (), 0.0, 0.0)
    with np.errstate(invalid="ignore"):
        off = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    off[np.isnan(off)] = np.inf
    index = tuple(map(int, np.unravel_index(off.argmax(), off.shape)))
    scale = max(np.abs(x[np.isfinite(x)]).max(initial=0.0) for x in (a, b)) or 1.0
    return Difference(
        step, first.layer, first.what, float(off[index] / scale), index, float(a[index]), float(b[index])
    )


def report(comparison: Comparison) -> str:
    """Say in a few lines where two backends diverge, or that they agree."""
    (a, b), tolerance, steps, diverged, largest = comparison
    if diverged is None:
        same = "bit for bit" if largest.relative == 0 else f"within {tolerance:g}"
        return f"{a} and {b} agree {same} in {steps} steps." + (
            _numbers(largest, a, b) if largest.relative else ""
        )
    lines = f"{a} and {b} diverge at step {diverged.step}, in layer {diverged.layer}: {diverged.what}."
    lines += _numbers(diverged, a, b, f" is above the tolerance of {tolerance:g}")
    agreed = "equal bit for bit" if largest.relative == 0 else f"within {largest.relative:.1e}"
    return f"{lines}\nAll results before it are {agreed}."


def _numbers(found: Difference, a: str, b: str, verdict: str = "") -> str:
    element = f"element {found.place}" if found.place else "its value"
    place = "" if verdict else f"\nLargest: step {found.step}, {found.layer}, {found.what}."
    values: Sequence[str] = [f"{found.first:.8g} on {a}", f"{found.second:.8g} on {b}"]
    return f"{place}\n{element}: {', '.join(values)}; the relative difference {found.relative:.1e}{verdict}."
