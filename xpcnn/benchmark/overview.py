"""One contender: where its time goes, how near that is to the machine's best, and the memory that it takes."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from xpcnn.benchmark import layers
from xpcnn.benchmark.contest import Entrant, in_turn, round_medians
from xpcnn.benchmark.machine import load
from xpcnn.benchmark.noise import BOUND, quietest
from xpcnn.benchmark.processes import Worker
from xpcnn.benchmark.timing import spread, timing_table, timings
from xpcnn.benchmark.workload import Workload
from xpcnn.commands.diagnosis import table

Json = dict[str, Any]
Environment = Mapping[str, str]

TURN, MOST_STEPS, LEAST_WARM_UP = 0.25, 50, 3
"""Seconds of a turn, unless its steps are given; its most steps; and the fewest before all turns."""

OURS = "xpcnn"


@dataclass(frozen=True)
class Effort:
    """How much is measured: rounds, steps in each, steps before; and the spread that is trusted.

    Where a number of steps is None, as many as take TURN seconds are taken.
    """

    rounds: int = 7
    steps: int | None = None
    warm_up: int | None = None
    bound: float = BOUND
    warn: Callable[[str], None] = lambda text: None
    load_before: float | None = field(default_factory=load)

    def counted(self, seconds: float) -> "Effort":
        """Return the effort for a step of so many seconds: no number is None any more."""
        fitting = min(max(round(TURN / seconds), 1), MOST_STEPS)
        steps = fitting if self.steps is None else self.steps
        warm_up = max(fitting, LEAST_WARM_UP) if self.warm_up is None else self.warm_up
        return replace(self, steps=steps, warm_up=warm_up)

    def record(self) -> Json:
        """Return the numbers, for JSON."""
        return {name: getattr(self, name) for name in ("rounds", "steps", "warm_up", "load_before")}

    def __str__(self) -> str:
        return f"{self.rounds} rounds of {self.steps} step{'s' * (self.steps != 1)}, after {self.warm_up} to warm up"


class Report(NamedTuple):
    """What was measured, for people and for programs."""

    text: str
    result: Json


def enter(
    workers: Mapping[str, Worker], work: Workload, effort: Effort, options: Mapping[str, Json] | None = None
) -> tuple[dict[str, Entrant], dict[str, Json], Effort]:
    """Open a training in every worker, and warm it up; return them, what each worker told, and the steps of a turn."""
    opened = {
        name: worker.ask("open", workload=asdict(work), **(options or {}).get(name, {}))
        for name, worker in workers.items()
    }
    effort = effort.counted(max(told["seconds"] for told in opened.values()))
    entrants = {
        name: Entrant(worker, opened[name]["number"], effort.steps or 1) for name, worker in workers.items()
    }
    for worker, number, _ in entrants.values():
        worker.ask("steps", number=number, count=0, idle=effort.warm_up)
    return entrants, opened, effort


def measured_peak(environment: Environment) -> float:
    """Return GFLOP/s of a matrix product, in a process of its own, in which BLAS is as it was installed."""
    with Worker("a matrix product", {**environment, "XPCNN_KERNELS": "reference"}) as worker:
        peak: float = worker.ask("peak")
    return peak


def overview(work: Workload, environment: Environment, effort: Effort, by_layer: bool = False) -> Report:
    """Measure a training, and lay out what was found; with `by_layer` every layer besides.

    Raises
    ------
    XpcnnError
        For a workload that cannot be.
    """
    with Worker(work.model, environment) as worker:
        entrants, told, effort = enter({OURS: worker}, work, effort)
        opened, peak = told[OURS], measured_peak(environment)
        found = quietest(
            lambda: in_turn(entrants, effort.rounds)[OURS],
            lambda answers: spread(round_medians(answers)),
            effort.bound,
            effort.warn,
        )
        single = in_turn(entrants, effort.rounds, "layers")[OURS] if by_layer else []
        workspace, machine = worker.ask("workspace"), worker.ask("machine")
    peak = max(peak, measured_peak(environment))  # the machine may have been busy the first time
    phases = timings(np.concatenate(found.value), opened["operations"])
    step = phases["step"]
    result = {
        **asdict(work), **effort.record(),
        "images_per_second": 1e3 * work.batch_size / step.median_ms, "gflops": step.gflops, "peak_gflops": peak,
        "multiply_adds": opened["multiply_adds"], "parameters": opened["parameters"],
        "memory_bytes": opened["memory"], "memory_read_by": opened["how"],
        "workspace_bytes": workspace and workspace[0], "workspace_bound_bytes": workspace and workspace[1],
        "phases": {name: row._asdict() for name, row in phases.items()},
        "noise": found.record(), "seconds": found.value, "machine": machine,
    }  # fmt: skip
    lines = [
        title(work),
        str(effort),
        "",
        timing_table(phases, peak),
        "",
        f"{result['images_per_second']:,.0f} images/s",
        f"{step.gflops:.1f} GFLOP/s, {step.gflops / peak:.0%} of the {peak:.0f} GFLOP/s of a matrix product here",
        memory_line(opened, workspace),
        str(found),
    ]
    if by_layer:
        rows = [layers.Place(**place) for place in single[0]["places"]]
        seconds = np.concatenate([one["seconds"] for one in single])
        each = layers.layer_timings(rows, seconds)
        result["layers"] = {
            "places": single[0]["places"],
            "seconds": [one["seconds"] for one in single],
        }
        slower = float(np.median(seconds.sum(axis=(1, 2)))) * 1e3
        lines += [
            "",
            "layer by layer, in milliseconds",
            "",
            layers.layer_table(rows, each, seconds),
            "",
            f"The clock is read at every layer, which costs a little itself: the step took {slower:.2f} ms so, and",
            f"{step.median_ms:.2f} ms without. The rest is data, what containers add, and the clock.",
        ]
    lines += ["", COUNTED.format(opened["multiply_adds"]), "", machine_table(machine, effort)]
    return Report("\n".join(lines), result)


COUNTED = """Counted: two operations for each of {:,} multiply-adds an image in forward, and in backward the
same for dW and again for dx, without the first layer's dx. All else counts as nothing."""


def title(work: Workload) -> str:
    """Say what is measured in a few words.

    >>> title(Workload("resnet20", 32, "sgd", width=2))
    'resnet20 of width 2, 32 images of MNIST a step, sgd'
    """
    images = "images of MNIST" if work.image is None else f"random images of {'x'.join(map(str, work.image))}"
    return (
        f"{work.model}{f' of width {work.width:g}' if work.width != 1 else ''}, {work.batch_size} {images} a step, "
        f"{work.optimizer}"
    )


def memory_line(opened: Json, workspace: tuple[int, int] | None) -> str:
    """Say what memory a step takes."""
    if opened["memory"] is None:
        text = "peak memory: not measured on this system"
    else:
        text = f"{megabytes(opened['memory'])} MB of memory at the peak of the first step, above weights and batch"
    if workspace is not None:
        text += (
            f";\n{megabytes(workspace[0])} MB of it stay in the kernels' workspaces (XPCNN_WORKSPACE is "
            f"{megabytes(workspace[1])} MB)"
        )
    return text


def megabytes(size: int) -> str:
    """Return bytes in units of 10^6.

    >>> megabytes(4_194_304)
    '4.2'
    """
    return f"{size / 1e6:.1f}"


def machine_table(machine: Mapping[str, str], effort: Effort) -> str:
    """Lay out what `machine` returned, and the load before anything was measured."""
    rows = list(machine.items())
    if effort.load_before is not None:
        rows.append(
            ("load", f"{effort.load_before:.1f} in the minute before; a quiet machine has less than 0.5")
        )
    return table(("machine", ""), rows)
