"""Print the table of docs/models.md: every network with its parameters and multiply-adds.

python tools/list_models.py
"""

import argparse

from xpcnn import models
from xpcnn.commands.models import build
from xpcnn.layers import Layer


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print("| network | classes | image | parameters | multiply-adds |\n|---|--:|---|--:|--:|")
    for name in models.BY_NAME:
        print(row(name, *build(name)))
        if name == "googlenet":
            print(row("googlenet, auxiliary=True", *build(name, auxiliary=True)))


def row(name: str, model: Layer, shape: tuple[int, ...]) -> str:
    """Return a network's row of the table."""
    summary = model.summary(shape)
    (classes,) = model.output_shape(shape)
    image = " x ".join(map(str, shape))
    return f"| {name} | {classes:,} | {image} | {summary.parameters:,} | {summary.multiply_adds:,} |"


if __name__ == "__main__":
    main()
