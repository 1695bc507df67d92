"""What each kernel is worth: the textbook's ops (reference) and the backend's kernels (tuned) take turns.

    python tools/kernel_gains.py --model deep                by phase and by op
    python tools/kernel_gains.py --model deep --layers       by layer too

CONTRIBUTING.md asks for this table beside a new kernel. A gain is the reference's time by the tuned one's in the same
round: the median of the rounds (lowest to highest). An op without a kernel of its own is the textbook's on both sides,
and gains or loses by the memory order of its input.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from xpcnn import models, ops, optimizers
from xpcnn._disk.files import replacing
from xpcnn._table import text_table
from xpcnn.backend import active_backend, set_backend, synchronize, use_backend
from xpcnn.benchmark.contest import (
    BOUND,
    Answers,
    Effort,
    Json,
    enter,
    in_turn,
    quietest,
    round_medians,
    same_losses,
)
from xpcnn.benchmark.overview import Environment, Report, machine_table, title
from xpcnn.benchmark.phases import PHASES, Clock, Training
from xpcnn.benchmark.processes import Worker
from xpcnn.benchmark.timing import ratio, spread
from xpcnn.benchmark.worker import Contender
from xpcnn.benchmark.worker import main as answer_until_the_end
from xpcnn.benchmark.workload import Workload
from xpcnn.commands.command_line import WHERE, backend_name, positive, run, whole
from xpcnn.errors import BenchmarkError

SIDES = ("reference", "tuned")
WORKER = (os.path.abspath(__file__), "--worker")

Rounds = dict[str, np.ndarray]
"""By the name of a phase, an op or a layer: seconds of a step, in the median of each round."""

# ---------------------------------------------------------------- in the worker


@contextmanager
def timed_operators(clock: Clock = time.perf_counter) -> Iterator[dict[str, list[float]]]:
    """Inside the ``with`` block keep, by the name of an op, its calls and their seconds together.

    An op that another one calls, as conv calls im2col in the textbook, is part of that one.
    """
    ledger: dict[str, list[float]] = {}
    inside = [False]

    def watched(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if inside[0]:
                return run(*args, **kwargs)
            synchronize()
            inside[0], begin = True, clock()
            try:
                result = run(*args, **kwargs)
                synchronize()
            finally:
                inside[0] = False
            entry = ledger.setdefault(name, [0, 0.0])
            entry[0] += 1
            entry[1] += clock() - begin
            return result

        return call

    backend = active_backend()
    kernels = {
        name: watched(name, backend.kernels.get(name, getattr(ops, name).__wrapped__)) for name in ops.__all__
    }
    with use_backend(replace(backend, kernels=kernels)):
        yield ledger


def time_operators(
    training: Training, steps: int, clock: Clock = time.perf_counter
) -> tuple[dict[str, float], dict[str, float]]:
    """Train for `steps`; return, by op, calls a step, and seconds a step in the median."""
    calls: dict[str, float] = {}
    seconds: dict[str, list[float]] = {}
    with timed_operators(clock) as ledger:
        for _ in range(steps):
            ledger.clear()
            training.step(clock)
            for name, (count, spent) in ledger.items():
                calls[name] = count
                seconds.setdefault(name, []).append(spent)
    return calls, {name: float(np.median(spent)) for name, spent in seconds.items()}


class KernelContender(Contender):
    """A contender that can also be asked for the time of each op."""

    def operators(self, number: int, count: int, idle: int = 0) -> Json:
        """As `steps`, op by op: calls and seconds a step, and which ops have a kernel of their own."""
        _, training = self.trainings[number]
        training.steps(idle)
        calls, seconds = time_operators(training, count)
        return {"calls": calls, "seconds": seconds, "kernels": sorted(active_backend().kernels)}


# ---------------------------------------------------------------- the comparison


def compare_kernels(
    work: Workload, environment: Environment, effort: Effort, by_layer: bool = False
) -> Report:
    """Time a training with the textbook's ops and with the kernels, by phase and by op; with `by_layer` by layer too.

    Raises BenchmarkError if the first losses differ, or the backend has no kernels.
    """
    with ExitStack() as stack:
        workers = {
            side: stack.enter_context(
                Worker(f"{side} kernels", {**environment, "XPCNN_KERNELS": side}, WORKER)
            )
            for side in SIDES
        }
        entrants, opened, effort = enter(workers, work, effort)
        losses, agreement = same_losses(workers, work)
        found = quietest(
            lambda: in_turn(entrants, effort.rounds),
            lambda answers: spread(np.divide(*(round_medians(answers[side]) for side in SIDES))),
            effort.bound,
            effort.warn,
        )
        operators = in_turn(entrants, effort.rounds, "operators")
        each = in_turn(entrants, effort.rounds, "layers") if by_layer else {}
        machine = workers["tuned"].ask("machine")
    own = set(operators["tuned"][0]["kernels"])
    if not own:
        raise BenchmarkError(
            f"backend {machine['backend']} has no kernels of its own here, so there is nothing to compare"
        )
    gain = ratio(*(round_medians(found.value[side]) for side in SIDES))
    lines = [
        title(work), str(effort), agreement, "",
        gain_table("phase", [by_phase(found.value[side]) for side in SIDES]), "",
        gain_table("op", [by_operator(operators[side]) for side in SIDES],
                   ("kernel", lambda name: "yes" if name in own else "")), "",
        f"The kernels make a step {gain.median:.2f} times as fast.", str(found),
    ]  # fmt: skip
    result: Json = {
        **asdict(work), **effort.record(), "losses": losses, "gain": gain._asdict(),
        "kernels": sorted(own), "seconds": found.value, "operators": operators, "noise": found.record(),
        "memory_bytes": {side: report["memory"] for side, report in opened.items()}, "machine": machine,
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
    return Report("\n".join([*lines, "", machine_table(machine, effort)]), result)


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
    """Return the rounds of every layer, forward and backward together, and of the update."""
    medians = np.array([np.median(np.sum(answer["seconds"], axis=2), axis=0) for answer in answers])
    names = [place["name"] for place in answers[0]["places"]]
    updates = np.array([np.median(np.array(answer["seconds"])[:, -1, 0]) for answer in answers])
    return {name: medians[:, row] for row, name in enumerate(names)} | {"update": updates}


def gain_table(
    what: str, sides: Sequence[Rounds], kind: tuple[str, Callable[[str], str]] | None = None
) -> str:
    """Lay reference and tuned side by side: milliseconds of each, and the gain; rows are those of the reference.

    `kind` is the head of a further column, and a function of the row's name.
    """
    rows: list[tuple[str, ...]] = [(what, *([kind[0]] if kind else []), "reference ms", "tuned ms", "gain")]
    reference, tuned = sides
    for name, there in reference.items():
        here = tuned.get(name, np.zeros_like(there))
        gain = str(ratio(there, here)) if here.all() else "."
        middle = [f"{1e3 * float(np.median(side)):.2f}" for side in (there, here)]
        rows.append((name, *([kind[1](name)] if kind else []), *middle, gain))
    return text_table(rows)


# ---------------------------------------------------------------- the command line


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--model", choices=models.BY_NAME, default="simple", help="network (default: %(default)s)")
    add("--batch-size", type=whole(1), default=100, metavar="B", help="images a step (default: %(default)s)")
    add("--optimizer", choices=optimizers.BY_NAME, default="adam", help="(default: %(default)s)")
    add("--backend", type=backend_name, metavar="NAME", help=WHERE)
    add("--layers", action="store_true", help="by layer too")
    add("--rounds", type=whole(5), default=7, metavar="R", help="at least 5 (default: %(default)s)")
    add("--steps", type=whole(1), metavar="N", help="steps a round (default: a quarter of a second of them)")
    add("--warm-up", type=whole(0), metavar="N", help="steps before all rounds (default: as many)")
    add("--noise-bound", type=positive, default=100 * BOUND, metavar="PERCENT", help="(default: %(default)g)")
    add("--json", metavar="FILE", help="write all that was measured")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    asked = args.backend or os.environ.get("XPCNN_BACKEND") or "numpy"
    environment = {"XPCNN_BACKEND": set_backend(asked).name if asked == "auto" else asked}
    work = Workload(args.model, args.batch_size, args.optimizer)
    effort = Effort(
        args.rounds, args.steps, args.warm_up, args.noise_bound / 100,
        lambda text: print(f"kernel_gains.py: {text}", file=sys.stderr),
    )  # fmt: skip
    report = compare_kernels(work, environment, effort, args.layers)
    print(report.text)
    if args.json:
        with replacing(args.json) as file:
            file.write((json.dumps(report.result, indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        answer_until_the_end(KernelContender())
    else:
        run(main)
