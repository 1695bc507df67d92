"""A training step layer by layer. Each reading of the clock waits for the device, so this costs a little itself."""

import time
from typing import Any, NamedTuple

import numpy as np

from xpcnn._table import text_table
from xpcnn.benchmark.phases import Clock, OwnTraining
from xpcnn.benchmark.timing import Timing, timing
from xpcnn.debug.tracing import traced

WIDTH, KIND = 100, 12
"""Columns of the terminal that the table is laid out for; columns of the layer's kind."""

LOSS, REST = "loss", "the rest"


class Place(NamedTuple):
    """A row of the table: the layer's dotted name and kind, the shape of its output, its operations."""

    name: str
    kind: str
    shape: tuple[int, ...]
    forward: int
    backward: int


def places(training: OwnTraining, input_shape: tuple[int, ...], batch_size: int) -> list[Place]:
    """Return a place for every layer that is not a container, in forward order, and one for the loss.

    Layers that are computed as one step are one place, with `Sequential.plan`'s name. Operations are counted as
    `phases.operations` counts them.
    """
    rows: list[Place] = []
    steps = {single: name for name, _ in training.model.named_steps() for single in _singles(name)}
    for name, layer, shape in training.model.walk(input_shape):
        count, kind = 2 * batch_size * layer.multiply_adds(shape), type(layer).__name__
        back = count if not rows else 2 * count  # dx of the first layer is not needed
        if rows and rows[-1].name == steps[name]:
            last = rows.pop()
            kind, count, back = f"{last.kind}+{kind}", last.forward + count, last.backward + back
        rows.append(Place(steps[name], kind, layer.output_shape(shape), count, back))
    return [*rows, Place(LOSS, "", (), 0, 0)]


def _singles(name: str) -> list[str]:
    """Return the names of the layers that a step computes.

    >>> _singles("features.1+2")
    ['features.1', 'features.2']
    """
    before, dot, both = name.rpartition(".")
    return [before + dot + single for single in both.split("+")]


def time_layers(
    training: OwnTraining, rows: list[Place], steps: int, clock: Clock = time.perf_counter
) -> np.ndarray:
    """Train for `steps`; return the seconds of each place, forward and backward, and of the step's other phases.

    The result is (steps, len(rows) + 1, 2); the last row holds the update, and data with all that is in no layer:
    what containers compute, and the readings of the clock.
    """
    index = {row.name: number for number, row in enumerate(rows)}
    ways = {"forward": 0, "backward": 1}
    parts = {"loss": (index[LOSS], 0), "loss backward": (index[LOSS], 1), "update": (len(rows), 0)}
    result = np.zeros((steps, len(rows) + 1, 2))
    begun: list[float] = []
    last = 0.0

    def now() -> float:
        training.synchronize()
        return clock()

    def enter(name: str, layer: Any, direction: str, value: Any) -> None:
        if name in index:
            begun.append(now())

    def leave(name: str, layer: Any, direction: str, value: Any) -> None:
        if name in index:
            seconds[index[name], ways[direction]] += now() - begun.pop()

    def after(part: str, value: Any) -> None:
        nonlocal last
        before, last = last, now()
        if part in parts:
            seconds[parts[part]] = last - before

    with traced(training.model, enter, leave):
        for seconds in result:
            begin = now()
            training.run(lambda phase: None, after)
            seconds[-1, 1] = last - begin - seconds.sum()
    return result


def layer_table(rows: list[Place], seconds: np.ndarray) -> str:
    """Lay out the result of `time_layers`, in milliseconds, and the sum; a long name loses its beginning.

    "+-" is half of the range between 10% and 90% of the steps, in per cent of the median.
    """
    total = float(seconds.sum())
    lines: list[tuple[str, ...]] = [
        ("layer", "kind", "output", "forward", "+-", "backward", "+-", "share", "GFLOP/s")
    ]

    def add(name: str, kind: str, shape: str, sides: list[np.ndarray], operations: int = 0) -> None:
        times = [timing(side, total) for side in sides]
        middle = sum(one.median_ms for one in times)
        speed = f"{operations / middle / 1e6:.1f}" if operations else "."
        cells = [cell for one in times for cell in _median(one)] + ["", ""] * (2 - len(times))
        lines.append((name, kind, shape, *cells, f"{sum(one.share for one in times):.1%}", speed))

    for number, row in enumerate(rows):
        kind = row.kind if len(row.kind) <= KIND else f"{row.kind[: KIND - 2]}.."
        sides = [*seconds[:, number].T]
        add(row.name, kind, "x".join(map(str, row.shape)), sides, row.forward + row.backward)
    add("update", "", "", [seconds[:, -1, 0]])
    add(REST, "", "", [seconds[:, -1, 1]])
    add("step", "", "", [seconds.sum(axis=(1, 2))], sum(row.forward + row.backward for row in rows))
    room = WIDTH - sum(2 + max(map(len, column)) for column in list(zip(*lines, strict=True))[1:])
    return text_table([(_ending(name, room), *cells) for name, *cells in lines])


def _median(row: Timing) -> tuple[str, str]:
    half = 50 * (row.p90_ms - row.p10_ms) / row.median_ms if row.median_ms else 0.0
    return f"{row.median_ms:.2f}", f"{min(half, 999):.0f}%" if row.median_ms else "."


def _ending(name: str, room: int) -> str:
    """Cut off a name's beginning, where it is too long.

    >>> _ending("layer1.0.residual.body.conv1", 16)
    '..ual.body.conv1'
    """
    return name if len(name) <= room else f"..{name[2 - room :]}"
