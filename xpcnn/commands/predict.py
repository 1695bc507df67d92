"""Say what is in images, with a trained network.

    xpcnn predict digit.png                                  with the newest run in runs/
    xpcnn predict *.jpg --weights runs/pets --top 3

Each image is brought to the size and the channels that the network was trained on. MNIST's digits are white on black:
--invert is for a black digit on white paper. Reading images needs Pillow: pip install "xpcnn[images]".
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xpcnn import data
from xpcnn._table import text_table
from xpcnn.backend import set_backend
from xpcnn.commands import trained
from xpcnn.commands.command_line import WHERE, backend_name, new_parser, whole
from xpcnn.errors import CheckpointError
from xpcnn.training import predict

TOP = 3


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    asked = new_parser("predict", __doc__)
    add = asked.add_argument
    add("images", type=Path, nargs="+", metavar="IMAGE", help="PNG, JPEG or another format that Pillow reads")
    add("--weights", type=Path, metavar="PATH",
        help="a weights file, or a run's folder: its best weights (default: the newest run in runs/)")  # fmt: skip
    add("--top", type=whole(1), default=TOP, metavar="K", help="classes of each image (default: %(default)s)")
    add("--invert", action="store_true", help="swap black and white")
    add("--backend", type=backend_name, metavar="NAME", help=WHERE)
    add("--json", action="store_true", help="print one line of JSON an image")
    return asked


def main(arguments: Sequence[str] | None = None) -> int:
    """Classify the images, and print the most probable classes; return the exit status."""
    args = parser().parse_args(arguments)
    if args.backend:
        set_backend(args.backend)
    found = trained.find(args.weights)
    name, classes, shape = found.named("model"), found.classes(), found.shape()
    if classes is None or shape is None:
        raise CheckpointError(
            f"{found.file}: does not say which classes and images it is for; train the network again"
        )
    model = trained.load(found, name, len(classes), shape)
    images = np.stack([data.read_image(file, shape[1:], shape[0]) for file in args.images])
    if args.invert:
        images = 255 - images
    logits = predict(model, images)
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances = scores / scores.sum(axis=1, keepdims=True)
    if not args.json:
        print(f"{name}, {found.file}\n")
    rows: list[tuple[str, ...]] = [("image", "class", "probability", "next")]
    for file, row in zip(args.images, chances, strict=True):
        order = row.argsort(kind="stable")[::-1][: args.top]
        best = [(classes[index], float(row[index])) for index in order]
        if args.json:
            print(json.dumps({"image": str(file), "class": best[0][0], "probabilities": dict(best)}))
        others = ", ".join(f"{one} {chance:.1%}" for one, chance in best[1:])
        rows.append((str(file), best[0][0], f"{best[0][1]:.1%}", others))
    if not args.json:
        print(text_table(rows, "<<><"))
    return 0
