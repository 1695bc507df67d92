"""Test a trained network: accuracy, a table of the classes, the confusion matrix, and a picture of the mistakes.

    xpcnn evaluate                                           the newest run in runs/
    xpcnn evaluate runs/simple
    xpcnn evaluate runs/simple/weights.safetensors --wrong wrong.png

The weights file names its network and its data set; --model and --dataset replace them.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from xpcnn.backend import active_backend, set_backend
from xpcnn.commands import trained
from xpcnn.commands.command_line import WHERE, backend_name, counted, image_bar, new_parser, whole
from xpcnn.commands.datasets import load_dataset
from xpcnn.commands.tables import class_table, confusion_table
from xpcnn.commands.trained import CHOICES
from xpcnn.errors import CheckpointError
from xpcnn.training import predict
from xpcnn.training.metrics import confusion_matrix, per_class
from xpcnn.visualization import draw_mistakes, find_mistakes, require_matplotlib, save_png


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    tested = new_parser("evaluate", __doc__)
    add = tested.add_argument
    add("weights", type=Path, nargs="?", metavar="WEIGHTS",
        help="a weights file, or a run's folder: its best weights (default: the newest run in runs/)")  # fmt: skip
    add("--model", choices=CHOICES["model"], metavar="NAME", help="network (default: the file's)")
    add("--dataset", choices=CHOICES["dataset"], help="whose test images (default: the file's)")
    add("--data-dir", type=Path, metavar="DIR", help="folder of the data set's files (default: $XPCNN_DATA)")
    add("--backend", type=backend_name, metavar="NAME", help=WHERE)
    add("--batch-size", type=whole(1), default=200, metavar="B", help="images at once (default: %(default)s)")
    add("--wrong", type=png, metavar="FILE.png", help="draw the misclassified images (needs xpcnn[viz])")
    add("--json", action="store_true", help="end with one line of JSON, the result")
    add("--quiet", action="store_true", help="print the result only, without tables")
    return tested


def main(arguments: Sequence[str] | None = None) -> int:
    """Test, and print the result; return the exit status."""
    args = parser().parse_args(arguments)
    machine = set_backend(args.backend) if args.backend else active_backend()
    if args.wrong:
        require_matplotlib()
    found = trained.find(args.weights)
    name, dataset = args.model or found.named("model"), args.dataset or found.named("dataset")
    shape = found.shape()
    sets = load_dataset(dataset, args.data_dir, shape and shape[1:], shape[0] if shape else 3, args.quiet)
    (images, labels), names = sets.test, sets.classes
    if dataset == "folder" and (known := found.classes()) and known != names:
        raise CheckpointError(
            f"{found.file}: its classes are {', '.join(known)}, and the folder's {', '.join(names)}; name the folder "
            "with the same classes"
        )
    model = trained.load(found, name, len(names), images.shape[1:])

    with image_bar(len(images), args.quiet) as bar:
        logits = predict(
            model, images, batch_size=args.batch_size, progress=lambda feed: counted(bar, feed, "testing")
        )
    confusion = confusion_matrix(logits.argmax(axis=1), labels, len(names))
    correct = int(confusion.trace())
    accuracy = correct / len(labels)

    if not args.quiet:
        print(class_table(confusion, names), confusion_table(confusion, names), sep="\n\n", end="\n\n")
    if args.wrong:
        save_png(draw_mistakes(images, find_mistakes(logits, labels), names, dataset), args.wrong)
    if args.json:
        classes = [{"name": of} | row._asdict() for of, row in zip(names, per_class(confusion), strict=True)]
        print(json.dumps({
            "model": name, "dataset": dataset, "backend": machine.name, "images": len(labels),
            "correct": correct, "test_accuracy": accuracy, "classes": classes, "confusion": confusion.tolist(),
        }))  # fmt: skip
    else:
        share = f"{correct:,} of {len(labels):,} images of {dataset}"
        print(f"test accuracy {accuracy:.2%}: {name} is right on {share}")
    return 0


def png(text: str) -> Path:
    """Read the name of a picture, for argparse."""
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"expected a file's name that ends in .png, got {text!r}")
    return Path(text)
