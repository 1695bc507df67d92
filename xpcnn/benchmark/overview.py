"""One contender: where its time goes, how near that is to the machine's best, and the memory that it takes."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import NamedTuple

import numpy as np

from xpcnn._table import text_table
from xpcnn.benchmark import layers
from xpcnn.benchmark.contest import Effort, Json, enter, in_turn, quietest, round_medians
from xpcnn.benchmark.processes import Worker
from xpcnn.benchmark.timing import spread, timing_table, timings
from xpcnn.benchmark.workload import Workload

Environment = Mapping[str, str]
OURS = "xpcnn"

COUNTED = """Counted: two operations for each of {:,} multiply-adds an image in forward, and in backward the
same for dW and again for dx, without the first layer's dx. All else counts as nothing."""

BY_LAYER = """
layer by layer, in milliseconds

{}

The clock is read at every layer, which costs a little itself: the step took {:.2f} ms so, and
{:.2f} ms without. The rest is data, what containers add, and the clock."""


class Report(NamedTuple):
    """What was measured, for people and for programs."""

    text: str
    result: Json


def measured_peak(environment: Environment) -> float:
    """Return GFLOP/s of a matrix product, in a process of its own, in which BLAS is as it was installed."""
    with Worker("a matrix product", {**environment, "XPCNN_KERNELS": "reference"}) as worker:
        peak: float = worker.ask("peak")
    return peak


def overview(work: Workload, environment: Environment, effort: Effort, by_layer: bool = False) -> Report:
    """Measure a training, and lay out what was found; with `by_layer` for every layer too.

    Raises
    ------
    XpcnnError
        For a workload that is not possible.
    """
    with Worker(work.model, environment) as worker:
        entrants, reports, effort = enter({OURS: worker}, work, effort)
        opened, peak = reports[OURS], measured_peak(environment)
        found = quietest(
            lambda: in_turn(entrants, effort.rounds)[OURS],
            lambda answers: spread(round_medians(answers)),
            effort.bound,
            effort.warn,
        )
        each = in_turn(entrants, effort.rounds, "layers")[OURS] if by_layer else []
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
        title(work), str(effort), "", timing_table(phases, peak), "",
        f"{result['images_per_second']:,.0f} images/s",
        f"{step.gflops:.1f} GFLOP/s, {step.gflops / peak:.0%} of the {peak:.0f} GFLOP/s of a matrix product here",
        memory_line(opened, workspace), str(found),
    ]  # fmt: skip
    if each:
        rows = [layers.Place(**place) for place in each[0]["places"]]
        seconds = np.concatenate([one["seconds"] for one in each])
        result["layers"] = {"places": each[0]["places"], "seconds": [one["seconds"] for one in each]}
        shown = layers.layer_table(rows, seconds)
        slower = 1e3 * float(np.median(seconds.sum(axis=(1, 2))))
        lines.append(BY_LAYER.format(shown, slower, step.median_ms))
    lines += ["", COUNTED.format(opened["multiply_adds"]), "", machine_table(machine, effort)]
    return Report("\n".join(lines), result)


def title(work: Workload) -> str:
    """Say what is measured in a few words.

    >>> title(Workload("resnet20", 32, "sgd", width=2))
    'resnet20 of width 2, 32 images of MNIST a step, sgd'
    """
    images = "images of MNIST" if work.image is None else f"random images of {'x'.join(map(str, work.image))}"
    width = f" of width {work.width:g}" if work.width != 1 else ""
    return f"{work.model}{width}, {work.batch_size} {images} a step, {work.optimizer}"


def memory_line(opened: Json, workspace: tuple[int, int] | None) -> str:
    """Say what memory a step takes."""
    text = "peak memory: not measured on this system"
    if opened["memory"] is not None:
        text = f"{megabytes(opened['memory'])} MB of memory at the peak of the first step, above weights and batch"
    if workspace is not None:
        held, bound = map(megabytes, workspace)
        text += f";\n{held} MB of it stay in the kernels' workspaces (XPCNN_WORKSPACE is {bound} MB)"
    return text


def megabytes(size: int) -> str:
    """Return bytes in units of 10^6.

    >>> megabytes(4_194_304)
    '4.2'
    """
    return f"{size / 1e6:.1f}"


def machine_table(machine: Mapping[str, str], effort: Effort) -> str:
    """Lay out the result of `machine`, and the load before anything was measured."""
    rows = list(machine.items())
    if effort.load_before is not None:
        known = f"{effort.load_before:.1f} in the minute before; a quiet machine has less than 0.5"
        rows.append(("load", known))
    return text_table([("machine", ""), *rows], "<", width=100, least=(11,))
