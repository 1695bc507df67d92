"""Time a training step: how long each phase takes, how near that is to the machine's best, and in how much memory.

    xpcnn benchmark                                  one table, in a few seconds
    xpcnn benchmark --model resnet20 --layers        every layer besides
    xpcnn benchmark --against pytorch                the same network, weights and batches there
    xpcnn benchmark --sweep batch --output runs      a CSV file, and a picture with xpcnn[viz]
    xpcnn benchmark --model resnet50 --image 3x224x224 --batch-size 8

What is compared runs in processes of its own, in turn, round after round. If the rounds differ too much, all is
measured again. docs/benchmark.md, in the repository, explains every number.
"""

import argparse
import importlib.util
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from xpcnn import kernels, models, optimizers
from xpcnn._disk.files import keep_former, replacing
from xpcnn.backend import set_backend
from xpcnn.benchmark.against import against_pytorch
from xpcnn.benchmark.contest import BOUND, Effort
from xpcnn.benchmark.overview import Report, machine_table, overview, title
from xpcnn.benchmark.picture import draw_sweep
from xpcnn.benchmark.sweep import KINDS, as_csv, points, sweep, sweep_table
from xpcnn.benchmark.workload import Workload
from xpcnn.commands.command_line import WHERE, backend_name, new_parser, positive, speaker, whole
from xpcnn.errors import BenchmarkError, ExtraError
from xpcnn.visualization import save_png


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    timed = new_parser("benchmark", __doc__)
    add = timed.add_argument
    add(
        "--model",
        choices=models.BY_NAME,
        default="simple",
        metavar="NAME",
        help="network (default: %(default)s)",
    )
    add("--batch-size", type=whole(1), default=100, metavar="B", help="images a step (default: %(default)s)")
    add("--optimizer", choices=optimizers.BY_NAME, default="adam", help="(default: %(default)s)")
    add("--image", type=image, metavar="CxHxW", help="random images of this shape (default: MNIST's)")
    add("--backend", type=backend_name, metavar="NAME", help=WHERE)
    add("--kernels", choices=kernels.CHOICES, help="which run (default: $XPCNN_KERNELS, or tuned)")
    add("--layers", action="store_true", help="tell every layer's time too")
    add("--against", choices=("pytorch",), help="run the same training there, in turn")
    add("--sweep", choices=KINDS, help="vary images a step, channels or threads")
    add("--points", type=numbers, metavar="A,B,...", help="the values of the sweep (default: a fixed list)")
    add(
        "--output",
        type=Path,
        metavar="PATH",
        help="of a sweep: a folder, or a .csv file (default: runs/benchmark)",
    )
    add("--rounds", type=whole(5), default=7, metavar="R", help="at least 5 (default: %(default)s)")
    add("--steps", type=whole(1), metavar="N", help="steps a round (default: a quarter of a second of them)")
    add("--warm-up", type=whole(0), metavar="N", help="steps before all rounds (default: as many)")
    add(
        "--noise-bound", type=positive, default=100 * BOUND, metavar="PERCENT",
        help="spread of the rounds that is trusted, (p90 - p10) / median (default: %(default)g)",
    )  # fmt: skip
    add("--json", metavar="FILE", help="write all that was measured; - prints it as the last line")
    return timed


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the report; return the exit status."""
    args = parser().parse_args(arguments)
    asked = args.backend or os.environ.get("XPCNN_BACKEND") or "numpy"
    check(args, asked)
    # "auto" is decided here, once for all processes
    environment = {"XPCNN_BACKEND": set_backend(asked).name if asked == "auto" else asked}
    if args.kernels:
        environment["XPCNN_KERNELS"] = args.kernels
    work = Workload(args.model, args.batch_size, args.optimizer, image=args.image)
    effort = Effort(args.rounds, args.steps, args.warm_up, args.noise_bound / 100, warn)
    if args.sweep:
        report = swept(args, work, environment, effort)
    elif args.against:
        report = against_pytorch(work, environment, effort)
    else:
        report = overview(work, environment, effort, args.layers)
    print(report.text)
    if args.json == "-":
        print(json.dumps(report.result))
    elif args.json:
        with replacing(args.json) as file:
            file.write((json.dumps(report.result, indent=1) + "\n").encode())
    return 0


def check(args: argparse.Namespace, backend: str) -> None:
    """Say in a sentence what does not go together, before anything is measured."""
    if args.sweep and args.against:
        raise BenchmarkError("--sweep and --against do not go together; give one of them")
    if args.layers and (args.sweep or args.against):
        other = "--sweep" if args.sweep else "--against"
        raise BenchmarkError(f"--layers and {other} do not go together; leave one of them out")
    for name in ("points", "output"):
        if getattr(args, name) and not args.sweep:
            raise BenchmarkError(f"--{name} is for a sweep; add --sweep {', '.join(KINDS)}, or leave it out")
    if args.sweep in ("batch", "threads") and any(p < 1 or p != int(p) for p in args.points or ()):
        raise BenchmarkError(f"--sweep {args.sweep} takes whole numbers from 1 up; give --points 1,2,4, say")
    if args.against and backend == "simulated":
        raise BenchmarkError("--backend simulated stands in for a GPU, not for its speed; take another one")
    if args.against and importlib.util.find_spec("torch") is None:
        raise ExtraError("PyTorch is not installed; run: pip install torch")
    if args.sweep == "threads" and backend != "numpy":
        raise BenchmarkError(f"--sweep threads is for the processor; take --backend numpy, not {backend}")


def swept(args: argparse.Namespace, work: Workload, environment: dict[str, str], effort: Effort) -> Report:
    """Measure a sweep; write its CSV file, and beside it its picture if there is matplotlib."""
    output: Path = args.output or Path("runs", "benchmark")
    file = output if output.suffix == ".csv" else output / f"{work.model}-{args.sweep}.csv"
    found = sweep(args.sweep, args.points or points(args.sweep), work, environment, effort)
    keep_former(file, file.with_suffix(".png"))
    with replacing(file) as csv:
        csv.write(as_csv(found.rows).encode())
    try:
        save_png(draw_sweep(found), file.with_suffix(".png"))
        written = f"{file} and {file.with_suffix('.png').name} beside it"
    except ExtraError:
        written = f'{file}; pip install "xpcnn[viz]" draws it as well'
    about = f"{title(work)}; the {args.sweep} varied, in turn, {effort.rounds} rounds"
    noisy = [row for row in found.rows if row["spread"] > effort.bound]
    doubt = [
        f"* NOT TO BE TRUSTED: measured {noisy[0]['measured']} times, and the rounds still spread by more than "
        f"{effort.bound:.0%}"
    ] if noisy else []  # fmt: skip
    return Report(
        "\n".join(
            [
                about,
                "",
                sweep_table(found, effort.bound),
                *doubt,
                "",
                machine_table(found.result["machine"], effort),
                "",
                written,
            ]
        ),
        found.result,
    )


def image(text: str) -> tuple[int, ...]:
    """Read 3x224x224, for argparse."""
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){2}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"expected channels x height x width as in 3x224x224, got {text!r}")
    return tuple(map(int, text.split("x")))


def numbers(text: str) -> list[float]:
    """Read 1,2,5, for argparse."""
    return [positive(part) for part in text.split(",")]


def warn(text: str) -> None:
    """Print a warning on standard error."""
    print(f"{speaker()}: {text}", file=sys.stderr)
