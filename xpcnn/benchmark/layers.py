"""A training step layer by layer. Each reading of the clock waits for the device, so this costs a little itself."""

import time
from typing import Any, NamedTuple

import numpy as np

from xpcnn.benchmark.phases import Clock, OwnTraining
from xpcnn.benchmark.timing import Timing, timing
from xpcnn.commands.tables import aligned
from xpcnn.debug.tracing import traced

WIDTH = 100
"""Columns of the terminal that the table is laid out for."""

KIND = 12
"""Columns of the layer's kind: GlobalAveragePooling loses its end."""

LOSS, REST = "loss", "the rest"


class Place(NamedTuple):
    """A row of the table: the layer's dotted name and kind, the shape of its output, operations there and back."""

    name: str
    kind: str
    shape: tuple[int, ...]
    forward: int
    backward: int


def places(training: OwnTraining, input_shape: tuple[int, ...], batch_size: int) -> list[Place]:
    """Return a place for every layer that is no container, in forward order, and one for the loss.

    Layers that are computed as one step are one place, as `Sequential.plan` names them.

    Operations are counted as `phases.operations` counts them.
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
    what containers add up and lay side by side, and the readings of the clock.
    """
    index = {row.name: number for number, row in enumerate(rows)}
    ways = {"forward": 0, "backward": 1}
    result = np.zeros((steps, len(rows) + 1, 2))
    begun: list[float] = []

    def now() -> float:
        training.synchronize()
        return clock()

    def enter(name: str, layer: Any, direction: str, value: Any) -> None:
        if name in index:
            begun.append(now())

    def leave(name: str, layer: Any, direction: str, value: Any) -> None:
        if name in index:
            seconds[index[name], ways[direction]] += now() - begun.pop()

    loss, criterion = index[LOSS], training.criterion
    with traced(training.model, enter, leave):
        for seconds in result:
            begin = now()
            training.data()
            output = training.model(training.images)
            times = [now()]
            training.loss = criterion(output, training.labels)
            times.append(now())
            gradient = criterion.backward()
            times.append(now())
            seconds[loss] = np.diff(times)
            training.model.backward(gradient, need_dx=False)
            times = [now()]
            training.update()
            times.append(now())
            seconds[-1] = times[1] - times[0], times[1] - begin
            seconds[-1, 1] -= seconds[:-1].sum() + seconds[-1, 0]
    return result


def layer_timings(rows: list[Place], seconds: np.ndarray) -> dict[str, tuple[Timing, Timing]]:
    """Return the timings, forward and backward, of every place, and of "update" and "the rest", a phase each."""
    total = float(seconds.sum())
    table = {}
    for number, row in enumerate(rows):
        there, back = seconds[:, number].T
        table[row.name] = timing(there, total, row.forward), timing(back, total, row.backward)
    nothing = timing(np.zeros(len(seconds)), total)
    update, rest = seconds[:, -1].T
    return table | {
        "update": (timing(update, total), nothing),
        REST: (timing(rest, total), nothing),
    }


def layer_table(rows: list[Place], table: dict[str, tuple[Timing, Timing]], seconds: np.ndarray) -> str:
    """Lay out what `layer_timings` returned, in milliseconds, and the sum; a long name loses its beginning.

    "+-" is half of what lies between 10% and 90% of the steps, in per cent of the median.
    """
    head = ("layer", "kind", "output", "forward", "+-", "backward", "+-", "share", "GFLOP/s")
    known, lines = {row.name: row for row in rows}, []
    for name, (there, back) in table.items():
        row = known.get(name)
        counted = there.operations + back.operations
        rate = counted / (there.median_ms + back.median_ms) / 1e6 if counted else 0
        lines.append((
            name, _beginning(row.kind) if row else "", "x".join(map(str, row.shape)) if row else "",
            *_median(there), *(_median(back) if row else ("", "")), f"{there.share + back.share:.1%}",
            f"{rate:.1f}" if counted else ".",
        ))  # fmt: skip
    sums = seconds.sum(axis=(1, 2))
    step = timing(sums, float(sums.sum()), sum(row.forward + row.backward for row in rows))
    lines.append(("step", "", "", *_median(step), "", "", "100.0%", f"{step.gflops:.1f}"))
    room = WIDTH - sum(2 + max(map(len, column)) for column in list(zip(head, *lines, strict=True))[1:])
    return aligned([head, *((_ending(name, room), *cells) for name, *cells in lines)])


def _median(row: Timing) -> tuple[str, str]:
    half = 50 * (row.p90_ms - row.p10_ms) / row.median_ms if row.median_ms else 0.0
    return f"{row.median_ms:.2f}", f"{min(half, 999):.0f}%" if row.median_ms else "."


def _beginning(kind: str) -> str:
    return kind if len(kind) <= KIND else f"{kind[: KIND - 2]}.."


def _ending(name: str, room: int) -> str:
    """Cut a name's beginning off, where it is too long.

    >>> _ending("layer1.0.residual.body.conv1", 16)
    '..ual.body.conv1'
    """
    return name if len(name) <= room else f"..{name[2 - room :]}"
