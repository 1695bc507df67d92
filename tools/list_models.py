"""Print the table of docs/models.md: every network with its parameters and multiply-adds.

python tools/list_models.py
python tools/list_models.py --summary resnet50 --depth 1
"""

import argparse
import inspect

from xpcnn import models
from xpcnn.commands.command_line import run, whole
from xpcnn.initializers import zeros
from xpcnn.layers import Layer


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--summary", choices=models.BY_NAME, metavar="MODEL", help="print this network's layers instead"
    )
    parser.add_argument("--depth", type=whole(1), help="open containers so many levels deep (default: all)")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    if args.summary:
        model, shape = build(args.summary)
        print(model.summary(shape, args.depth))
        return 0
    print("| network | classes | image | parameters | multiply-adds |\n|---|--:|---|--:|--:|")
    for name in models.BY_NAME:
        print(row(name, *build(name)))
        if name == "googlenet":
            print(row("googlenet, auxiliary=True", *build(name, auxiliary=True)))
    return 0


def build(name: str, **options: bool) -> tuple[Layer, tuple[int, ...]]:
    """Return a network as its paper has it, with weights of zero where it can, and the shape of an image."""
    network = models.BY_NAME[name]
    if "options" in inspect.signature(network).parameters:
        options["initializer"] = zeros
    classes = inspect.signature(network).parameters["num_classes"].default
    side = 224 if classes == 1000 else 32  # of ImageNet or of CIFAR
    shape = (3, side, side) if "initializer" in options else (1, 28, 28)
    return network(**options), shape


def row(name: str, model: Layer, shape: tuple[int, ...]) -> str:
    """Return a network's row of the table."""
    summary = model.summary(shape)
    (classes,) = model.output_shape(shape)
    image = " x ".join(map(str, shape))
    return f"| {name} | {classes:,} | {image} | {summary.parameters:,} | {summary.multiply_adds:,} |"


if __name__ == "__main__":
    run(main)
