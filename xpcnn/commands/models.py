"""List the networks: their parameters, the work for one image, and the data sets that they fit.

xpcnn models
xpcnn models --dataset cifar10
xpcnn models --summary resnet50 --depth 1
"""

import inspect
from collections.abc import Sequence
from functools import cache

from xpcnn import models
from xpcnn._table import text_table
from xpcnn.commands.command_line import image_size, new_parser, whole
from xpcnn.errors import ShapeError
from xpcnn.initializers import zeros
from xpcnn.layers import Layer

SHAPES = {"mnist": (1, 28, 28), "fashion-mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
"""Of an image of each data set."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or one network's layers; return the exit status."""
    parser = new_parser("models", __doc__)
    add = parser.add_argument
    add("--dataset", choices=SHAPES, help="only the networks that fit this data set")
    add("--size", type=image_size, metavar="S", help="only those that fit colour images of S x S pixels")
    add("--summary", choices=models.BY_NAME, metavar="MODEL", help="print this network's layers instead")
    add("--depth", type=whole(1), help="of a summary: open containers so many levels deep (default: all)")
    args = parser.parse_args(arguments)
    if args.summary:
        model, shape = build(args.summary)
        print(model.summary(shape, args.depth))
        return 0
    asked = [SHAPES[args.dataset]] if args.dataset else []
    asked += [(3, *args.size)] if args.size else []
    rows = [("network", "parameters", "multiply-adds", "for images of", "fits")]
    for name in models.BY_NAME:
        if all(fits(name, shape) for shape in asked):
            model, shape = build(name)
            found = model.summary(shape)
            sets = ", ".join(dataset for dataset, images in SHAPES.items() if fits(name, images))
            numbers = (f"{found.parameters:,}", f"{found.multiply_adds:,}")
            rows.append((name, *numbers, by(shape), sets or "--dataset folder --size 224"))
    print(text_table(rows, "<>>><"))
    return 0


def build(name: str, **options: bool) -> tuple[Layer, tuple[int, int, int]]:
    """Return a network as its paper has it, with weights of zero where it can, and the shape of an image."""
    network, settings = models.BY_NAME[name], dict[str, object](options)
    if not _has_options(name):
        return network(**settings), (1, 28, 28)
    small = inspect.signature(network).parameters["num_classes"].default != 1000  # CIFAR, not ImageNet
    return network(initializer=zeros, **settings), (3, 32, 32) if small else (3, 224, 224)


@cache
def fits(name: str, shape: tuple[int, int, int]) -> bool:
    """Tell whether a network can be built for images of a shape."""
    thin = {"initializer": zeros, "width": 1 / 16} if _has_options(name) else {}
    try:
        models.BY_NAME[name](10, 0, input_shape=shape, **thin).output_shape(shape)
    except ShapeError:
        return False
    return True


def fitting(shape: tuple[int, int, int]) -> list[str]:
    """Return the names of the networks that fit images of a shape."""
    return [name for name in models.BY_NAME if fits(name, shape)]


def by(shape: tuple[int, ...]) -> str:
    """Return a shape as text.

    >>> by((3, 32, 32))
    '3 x 32 x 32'
    """
    return " x ".join(map(str, shape))


def _has_options(name: str) -> bool:
    return "options" in inspect.signature(models.BY_NAME[name]).parameters
