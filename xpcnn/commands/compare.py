"""Train on two backends, and find the first step and the first layer at which they diverge.

    xpcnn compare numpy simulated --model simple --steps 20
    xpcnn compare numpy numpy:reference

The exit status is 0 if they agree, 1 if they do not, and 2 if they cannot be compared.
"""

import argparse
import sys
from collections.abc import Sequence

from xpcnn import models, optimizers
from xpcnn.commands.command_line import new_parser, not_negative, whole
from xpcnn.debug.compare import compare, report
from xpcnn.errors import XpcnnError
from xpcnn.kernels import CHOICES


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, and print the result; return the exit status."""
    args = parser().parse_args(arguments)
    first, second = (
        f"{name}:{args.kernels}" if args.kernels and _names_no_kernels(name) else name
        for name in args.backends
    )
    try:
        comparison = compare(
            (first, second), args.model, optimizer=args.optimizer,
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
    """Return the parser of the arguments."""
    compared = new_parser("compare", __doc__)
    add = compared.add_argument
    add("backends", nargs=2, metavar="BACKEND",
        help='of numpy, cupy, simulated; "numpy:reference" without kernels')  # fmt: skip
    add("--model", choices=models.BY_NAME, default="simple", metavar="NAME", help="(default: %(default)s)")
    add("--optimizer", choices=optimizers.BY_NAME, default="momentum", help="(default: %(default)s)")
    add("--steps", type=whole(1), default=20, help="(default: %(default)s)")
    add("--batch-size", type=whole(1), default=20, metavar="B", help="images a step (default: %(default)s)")
    add("--tolerance", type=not_negative, default=1e-5,
        help="largest relative difference that is agreement (default: %(default)s)")  # fmt: skip
    add("--seed", type=int, default=0, help="of weights and dropout (default: %(default)s)")
    add("--kernels", choices=CHOICES, help="of both backends (default: $XPCNN_KERNELS, or tuned)")
    return compared
