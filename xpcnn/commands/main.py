"""``python -m xpcnn``: what this machine can run, and how to repair what it cannot.

``python -m xpcnn compare numpy simulated --model simple --steps 20``: the first step and layer at which two
backends part. The exit status is 0 if the backend that XPCNN_BACKEND asks for is usable, or if the two agree.
"""

import argparse
import sys
from collections.abc import Sequence

from xpcnn import models, optimizers
from xpcnn.commands.command_line import not_negative, whole
from xpcnn.commands.diagnosis import diagnose
from xpcnn.debug.compare import compare, report
from xpcnn.errors import XpcnnError
from xpcnn.kernels import CHOICES


def main(arguments: Sequence[str] = ()) -> int:
    """Print the diagnosis, or a comparison; return the exit status."""
    args = parser().parse_args(arguments)
    if args.command is None:
        text, usable = diagnose()
        print(text)
        return 0 if usable else 1
    backends = [
        f"{name}:{args.kernels}" if args.kernels and _names_no_kernels(name) else name
        for name in args.backends
    ]
    try:
        comparison = compare(
            (backends[0], backends[1]), args.model, optimizer=args.optimizer,
            steps=args.steps, batch_size=args.batch_size, tolerance=args.tolerance, seed=args.seed,
        )  # fmt: skip
    except XpcnnError as error:
        sys.stderr.write(f"compare: {error}\n")
        return 2
    print(report(comparison))
    return 0 if comparison.diverged is None else 1


def _names_no_kernels(name: str) -> bool:
    _, colon, last = name.partition(":")
    return not colon or last.isdecimal()  # cupy:1 is the second GPU


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    plain = argparse.RawDescriptionHelpFormatter
    diagnosis = argparse.ArgumentParser(
        prog="python -m xpcnn", description=__doc__, allow_abbrev=False, formatter_class=plain
    )
    commands = diagnosis.add_subparsers(dest="command", metavar="compare", help="two backends, step by step")
    compared = commands.add_parser(
        "compare", description="Train on two backends and find where they part.", allow_abbrev=False
    )
    add = compared.add_argument
    add(
        "backends",
        nargs=2,
        metavar="BACKEND",
        help='of numpy, cupy, simulated; "numpy:reference" without kernels',
    )
    add("--model", choices=models.BY_NAME, default="simple", metavar="NAME", help="(default: %(default)s)")
    add("--optimizer", choices=optimizers.BY_NAME, default="momentum", help="(default: %(default)s)")
    add("--steps", type=whole(1), default=20, help="(default: %(default)s)")
    add("--batch-size", type=whole(1), default=20, metavar="B", help="images a step (default: %(default)s)")
    add(
        "--tolerance",
        type=not_negative,
        default=1e-5,
        help="relative, still agreement (default: %(default)s)",
    )
    add("--seed", type=int, default=0, help="of weights and dropout (default: %(default)s)")
    add("--kernels", choices=CHOICES, help="of both backends (default: $XPCNN_KERNELS, or tuned)")
    return diagnosis
