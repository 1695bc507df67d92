"""One number varied, images a step, channels or threads, and what that does to a step."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from xpcnn._table import text_table
from xpcnn.benchmark.contest import (
    Answers,
    Effort,
    Entrant,
    Json,
    Quietest,
    enter,
    in_turn,
    quietest,
    round_medians,
)
from xpcnn.benchmark.machine import cores, threads
from xpcnn.benchmark.overview import OURS, Environment, measured_peak
from xpcnn.benchmark.phases import PHASES
from xpcnn.benchmark.processes import Worker
from xpcnn.benchmark.timing import spread, timings
from xpcnn.benchmark.workload import Workload

Kind: TypeAlias = Literal["batch", "width", "threads"]
KINDS: tuple[Kind, ...] = ("batch", "width", "threads")

BATCHES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
WIDTHS = (0.25, 0.5, 1, 2, 4)
FEW = 8
"""Cores up to which every number of threads is tried; beyond, powers of two and all."""

COLUMNS = (
    "model", "optimizer", "backend", "batch_size", "width", "threads", "parameters", "step_ms", "p10_ms", "p90_ms",
    *(f"{phase}_ms" for phase in PHASES), "images_per_second", "gflops", "peak_gflops", "spread", "measured",
)  # fmt: skip
"""Of the CSV file; docs/benchmark.md explains each of them."""

Row: TypeAlias = dict[str, Any]


class Sweep(NamedTuple):
    """What was varied, a row for every value, and all that was measured."""

    kind: Kind
    rows: list[Row]
    result: Json


def points(kind: Kind) -> Sequence[float]:
    """Return the values that are tried.

    >>> points("width")
    (0.25, 0.5, 1, 2, 4)
    """
    if kind == "threads":
        return thread_counts(cores())
    return BATCHES if kind == "batch" else WIDTHS


def thread_counts(most: int) -> tuple[int, ...]:
    """Return 1, 2, 3, ..., all of them; of many cores 1, 2, 4, ..., all.

    >>> thread_counts(4), thread_counts(12)
    ((1, 2, 3, 4), (1, 2, 4, 8, 12))
    """
    if most <= FEW:
        return tuple(range(1, most + 1))
    return (*(1 << power for power in range((most - 1).bit_length())), most)


def sweep(
    kind: Kind, values: Sequence[float], work: Workload, environment: Environment, effort: Effort
) -> Sweep:
    """Measure a training at every value, in turn; a value whose rounds spread too far is measured again.

    Raises
    ------
    XpcnnError
        For a value that is not possible: a batch larger than the data set, a width that the network does not have.
    """
    works = {f"{value:g}": at(kind, value, work) for value in values}
    entrants: dict[str, Entrant] = {}
    reports: dict[str, Json] = {}
    with ExitStack() as stack:
        if kind == "threads":
            workers = {
                name: stack.enter_context(Worker(f"{name} threads", {**environment, "XPCNN_THREADS": name}))
                for name in works
            }
        else:
            workers = dict.fromkeys(works, stack.enter_context(Worker(work.model, environment)))
        for name, one in works.items():
            entered, opened, _ = enter({name: workers[name]}, one, effort)
            entrants, reports = entrants | entered, reports | opened
        peak = measured_peak(environment)
        first = in_turn(entrants, effort.rounds)
        found = {name: settled(name, first[name], entrants[name], effort) for name in entrants}
        machine = workers[name].ask("machine")
    peak = max(peak, measured_peak(environment))
    rows = []
    for name, one in works.items():
        table = timings(np.concatenate(found[name].value), reports[name]["operations"])
        step, count = table["step"], int(name) if kind == "threads" else threads()
        row = (
            one.model, one.optimizer, machine["backend"], one.batch_size, one.width, count,
            reports[name]["parameters"], step.median_ms, step.p10_ms, step.p90_ms,
            *(table[phase].median_ms for phase in PHASES), 1e3 * one.batch_size / step.median_ms, step.gflops, peak,
            found[name].spread, found[name].attempts,
        )  # fmt: skip
        rows.append(dict(zip(COLUMNS, row, strict=True)))
    result = {
        **asdict(work), "sweep": kind, "rounds": effort.rounds, "load_before": effort.load_before,
        "rows": rows, "machine": machine, "seconds": {name: one.value for name, one in found.items()},
    }  # fmt: skip
    return Sweep(kind, rows, result)


def settled(name: str, first: Answers, entrant: Entrant, effort: Effort) -> Quietest[Answers]:
    """Take the first measurement of a value, or, where it spreads too far, further ones."""
    waiting = [first]
    return quietest(
        lambda: waiting.pop() if waiting else in_turn({OURS: entrant}, effort.rounds)[OURS],
        lambda answers: spread(round_medians(answers)),
        effort.bound,
        lambda text: effort.warn(f"at {name} {text}"),
    )


def at(kind: Kind, value: float, work: Workload) -> Workload:
    """Return the workload at one value of the sweep."""
    if kind == "batch":
        return replace(work, batch_size=int(value))
    return replace(work, width=float(value)) if kind == "width" else work


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the rows as CSV, four digits of what was measured."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    return file.getvalue()


def sweep_table(found: Sweep, bound: float) -> str:
    """Lay out a row for every value; a star marks one whose rounds spread too far to be trusted."""
    column = "batch_size" if found.kind == "batch" else found.kind
    rows = [
        (
            f"{row[column]:g}" + "*" * (row["spread"] > bound), f"{row['step_ms']:.2f}",
            f"{row['p10_ms']:.2f} to {row['p90_ms']:.2f}", f"{row['images_per_second']:,.0f}",
            f"{row['gflops']:.1f}", f"{row['gflops'] / row['peak_gflops']:.0%}", f"{row['spread']:.0%}",
        )
        for row in found.rows
    ]  # fmt: skip
    head = (found.kind, "step ms", "10% to 90%", "images/s", "GFLOP/s", "of peak", "rounds spread")
    return text_table([head, *rows])
