"""What each kernel is worth: the textbook's ops and the backend's own kernels, in turn."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict

import numpy as np

from xpcnn.benchmark.contest import (
    Answers,
    Ratio,
    agreement,
    check_losses,
    in_turn,
    ratio,
    round_medians,
)
from xpcnn.benchmark.noise import quietest
from xpcnn.benchmark.overview import Effort, Environment, Json, Report, enter, machine_table, title
from xpcnn.benchmark.phases import PHASES
from xpcnn.benchmark.processes import Worker
from xpcnn.benchmark.timing import spread
from xpcnn.benchmark.workload import Workload
from xpcnn.commands.tables import aligned
from xpcnn.errors import BenchmarkError

SIDES = ("reference", "tuned")
CHECKED = 3
"""Losses that must agree before anything is timed."""

Rounds = dict[str, np.ndarray]
"""By the name of a phase, an op or a layer: seconds of a step, in the median of each round."""


def compare_kernels(
    work: Workload, environment: Environment, effort: Effort, by_layer: bool = False
) -> Report:
    """Time a training with the textbook's ops and with the kernels, by phase and by op; with `by_layer` by layer too.

    Raises
    ------
    BenchmarkError
        If the first losses differ, or the backend has no kernels.
    """
    with ExitStack() as stack:
        workers = {
            side: stack.enter_context(Worker(f"{side} kernels", {**environment, "XPCNN_KERNELS": side}))
            for side in SIDES
        }
        entrants, opened, effort = enter(workers, work, effort)
        losses = {
            side: worker.ask("losses", workload=asdict(work), count=CHECKED)
            for side, worker in workers.items()
        }
        check_losses(losses)
        found = quietest(
            lambda: in_turn(entrants, effort.rounds),
            lambda answers: spread(np.divide(*(round_medians(answers[side]) for side in SIDES))),
            effort.bound,
            effort.warn,
        )
        ops = in_turn(entrants, effort.rounds, "operators")
        each = in_turn(entrants, effort.rounds, "layers") if by_layer else {}
        machine = workers["tuned"].ask("machine")
    own = set(ops["tuned"][0]["kernels"])
    if not own:
        raise BenchmarkError(
            f"backend {machine['backend']} has no kernels of its own here, so nothing to compare"
        )

    phases = [by_phase(found.value[side]) for side in SIDES]
    operators = [by_operator(ops[side]) for side in SIDES]
    whole = ratio(*(round_medians(found.value[side]) for side in SIDES))
    lines = [
        title(work),
        "the textbook's ops (reference) and the backend's kernels (tuned), in turn",
        str(effort),
        agreement(losses),
        "",
        gain_table("phase", phases),
        "",
        gain_table("op", operators, ("kernel", lambda name: "yes" if name in own else "")),
        "",
        f"The kernels make a step {whole.median:.2f} times as fast.",
        "Gain: the reference's time by the tuned one's in the same round, the median of the rounds (lowest to",
        "highest). An op without a kernel of its own is the textbook's on both sides, and gains or loses by",
        "the order in memory in which the others leave its input.",
        str(found),
    ]
    result: Json = {
        **asdict(work), **effort.record(), "losses": losses, "gain": whole._asdict(),
        "kernels": sorted(own), "seconds": found.value, "operators": ops, "noise": found.record(),
        "memory_bytes": {side: told["memory"] for side, told in opened.items()}, "machine": machine,
    }  # fmt: skip
    if by_layer:
        kinds = {place["name"]: place["kind"] for place in each["tuned"][0]["places"]}
        sides = [by_place(each[side]) for side in SIDES]
        lines += ["", gain_table("layer", sides, ("kind", lambda name: kinds.get(name, "")))]
        lines += [
            "",
            "A layer is its forward and backward together. Reading the clock at each costs a little.",
        ]
        result["layers"] = each
    lines += ["", machine_table(machine, effort)]
    return Report("\n".join(lines), result)


def by_phase(answers: Answers) -> Rounds:
    """Return the rounds of every phase, and of the step."""
    medians = np.array([np.median(steps, axis=0) for steps in answers])  # (rounds, phases)
    return {name: medians[:, column] for column, name in enumerate(PHASES)} | {"step": round_medians(answers)}


def by_operator(answers: Answers) -> Rounds:
    """Return the rounds of every op, and of all of them together."""
    names = list(dict.fromkeys(name for answer in answers for name in answer["seconds"]))
    rounds = {name: np.array([answer["seconds"].get(name, 0.0) for answer in answers]) for name in names}
    return rounds | {"all ops": np.sum(list(rounds.values()), axis=0)}


def by_place(answers: Answers) -> Rounds:
    """Return the rounds of every layer that takes time, there and back together, and of the update."""
    medians = np.array([np.median(np.sum(answer["seconds"], axis=2), axis=0) for answer in answers])
    names = [place["name"] for place in answers[0]["places"]]
    updates = np.array([np.median(np.array(answer["seconds"])[:, -1, 0]) for answer in answers])
    return {name: medians[:, row] for row, name in enumerate(names)} | {"update": updates}


def gain_table(
    what: str, sides: Sequence[Rounds], kind: tuple[str, Callable[[str], str]] | None = None
) -> str:
    """Lay reference and tuned side by side: milliseconds of each, and the gain; rows are those of the reference.

    `kind` is the head of a further column, and what it says of a row.

    >>> print(gain_table("op", [{"conv": np.array([0.02, 0.03])}, {"conv": np.array([0.01, 0.01])}]))
    op    reference ms  tuned ms                 gain
    -------------------------------------------------
    conv         25.00     10.00  2.50 (2.00 to 3.00)
    """
    head = (what, *([kind[0]] if kind else []), "reference ms", "tuned ms", "gain")
    rows: list[tuple[str, ...]] = []
    reference, tuned = sides
    for name, there in reference.items():
        here = tuned.get(name, np.zeros_like(there))
        gain: Ratio | str = ratio(there, here) if here.all() else "."
        middle = [f"{1e3 * float(np.median(side)):.2f}" for side in (there, here)]
        rows.append((name, *([kind[1](name)] if kind else []), *middle, str(gain)))
    return aligned([head, *rows])
