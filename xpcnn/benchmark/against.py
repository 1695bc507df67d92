"""Ours and PyTorch take turns: the same network, weights, batches and optimizer."""

from contextlib import ExitStack
from dataclasses import asdict

import numpy as np

from xpcnn._table import text_table
from xpcnn.benchmark.contest import (
    Answers,
    Effort,
    Json,
    enter,
    in_turn,
    quietest,
    round_medians,
    same_losses,
)
from xpcnn.benchmark.overview import OURS, Environment, Report, machine_table, megabytes, title
from xpcnn.benchmark.phases import PHASES
from xpcnn.benchmark.processes import Worker
from xpcnn.benchmark.timing import ratio, spread
from xpcnn.benchmark.workload import Workload

CONTIGUOUS, CHANNELS_LAST = "PyTorch, contiguous", "PyTorch, channels last"
PROGRAMS: dict[str, Json] = {
    OURS: {},
    CONTIGUOUS: {"program": "pytorch", "channels_last": False},
    CHANNELS_LAST: {"program": "pytorch", "channels_last": True},
}

EXPLAINED = """
The table has milliseconds, medians of all steps. Data is the making of a batch and, where there
is a device, its upload; it is timed on both sides and is part of the step. Each contender is a
process of its own with all cores. Dropout is off while losses are compared, since each draws its
own masks, and on while time is taken. MB: memory at the peak of the first step, above weights and
batch.
"""


def against_pytorch(work: Workload, environment: Environment, effort: Effort) -> Report:
    """Time a training here and in PyTorch, in both of its memory formats, of which the faster one counts.

    Raises
    ------
    ExtraError
        If PyTorch is not installed.
    BenchmarkError
        If the first losses differ.
    """
    # the textbook's ops compute nothing there, but they leave BLAS its threads, and so PyTorch
    theirs = {**environment, "XPCNN_KERNELS": "reference"}
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(name, theirs if options else environment))
            for name, options in PROGRAMS.items()
        }
        entrants, opened, effort = enter(workers, work, effort, PROGRAMS)
        losses, agreement = same_losses(workers, work, PROGRAMS)
        found = quietest(
            lambda: in_turn(entrants, effort.rounds),
            lambda answers: max(map(spread, quotients(answers).values())),
            effort.bound,
            effort.warn,
        )
        machine = workers[OURS].ask("machine") | {"pytorch": workers[CONTIGUOUS].ask("machine")["pytorch"]}
    rounds = {name: round_medians(answers) for name, answers in found.value.items()}
    ratios = {name: ratio(rounds[name], rounds[OURS]) for name in (CONTIGUOUS, CHANNELS_LAST)}
    better = min(ratios, key=lambda name: ratios[name].median)
    memory = {name: report["memory"] for name, report in opened.items()}
    lines = [
        title(work), f"in turn: {effort}", agreement, "", contest_table(work, found.value, memory), "",
        "PyTorch's time by xpcnn's in the same round: the median of the rounds (lowest to highest)",
        *(
            f"    {name.removeprefix('PyTorch, '):<13}  {value}"
            + "  PyTorch's better format, which counts" * (name == better)
            for name, value in ratios.items()
        ),
        verdict(ratios[better].median) if found.trusted else "Which is faster cannot be said:",
        str(found), EXPLAINED, machine_table(machine, effort),
    ]  # fmt: skip
    result: Json = {
        **asdict(work), **effort.record(), "losses": losses,
        "ratios": {name: value._asdict() for name, value in ratios.items()}, "better_format": better,
        "ratio": ratios[better]._asdict(), "memory_bytes": memory, "seconds": found.value,
        "noise": found.record(), "machine": machine,
    }  # fmt: skip
    return Report("\n".join(lines), result)


def quotients(answers: dict[str, Answers]) -> dict[str, np.ndarray]:
    """Return each other contender's time by ours, round by round."""
    rounds = {name: round_medians(one) for name, one in answers.items()}
    return {name: others / rounds[OURS] for name, others in rounds.items() if name != OURS}


def verdict(quotient: float) -> str:
    """Say in a sentence which is faster.

    >>> verdict(1.25), verdict(0.5)
    ('xpcnn is faster: PyTorch takes 1.25 times as long.', 'PyTorch is faster: xpcnn takes 2.00 times as long.')
    """
    if quotient > 1:
        return f"xpcnn is faster: PyTorch takes {quotient:.2f} times as long."
    return f"PyTorch is faster: xpcnn takes {1 / quotient:.2f} times as long."


def contest_table(work: Workload, answers: dict[str, Answers], memory: dict[str, int | None]) -> str:
    """Lay out a row for every contender: milliseconds of each phase and of the step, images a second, memory."""
    rows: list[tuple[str, ...]] = [("", *PHASES, "step", "images/s", "MB")]
    for name, rounds in answers.items():
        seconds = np.concatenate(rounds)
        step = float(np.median(seconds.sum(axis=1)))
        size = memory[name]
        times = (*np.median(seconds, axis=0), step)
        speed = f"{work.batch_size / step:,.0f}"
        rows.append(
            (name, *(f"{1e3 * t:.2f}" for t in times), speed, "." if size is None else megabytes(size))
        )
    return text_table(rows)
