"""Test a trained network: accuracy, a table of the classes, the confusion matrix, and a picture of the mistakes.

    python scripts/evaluate.py runs/simple/weights.safetensors
    python scripts/evaluate.py runs/simple/weights.safetensors --wrong wrong.png

Which network and which data set it is stands in the weights file; --model and --dataset say otherwise.
"""

import argparse
import json
from pathlib import Path

from xpcnn import data, models
from xpcnn.backend import active_backend, set_backend
from xpcnn.checkpoint import load_weights, read_weights
from xpcnn.commands.command_line import WHERE, backend_name, counted, image_bar, run, whole
from xpcnn.commands.tables import class_table, confusion_table
from xpcnn.data.datasets import LOADERS
from xpcnn.errors import CheckpointError
from xpcnn.training import predict
from xpcnn.training.metrics import confusion_matrix, per_class
from xpcnn.visualization import draw_mistakes, find_mistakes, require_matplotlib, save_png

CHOICES = {"model": tuple(models.BY_NAME), "dataset": tuple(LOADERS)}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("weights", type=Path, metavar="WEIGHTS", help="file that scripts/train.py wrote")
    add("--model", choices=CHOICES["model"], help="network (default: the file's)")
    add("--dataset", choices=CHOICES["dataset"], help="whose test images (default: the file's)")
    add("--data-dir", type=Path, metavar="DIR", help="folder of the data set's files (default: $XPCNN_DATA)")
    add("--backend", type=backend_name, metavar="NAME", help=WHERE)
    add("--batch-size", type=whole(1), default=200, metavar="B", help="images at once (default: %(default)s)")
    add("--wrong", type=png, metavar="FILE.png", help="draw the misclassified images (needs xpcnn[viz])")
    add("--json", action="store_true", help="end with one line of JSON, the result")
    add("--quiet", action="store_true", help="print the result only, without tables")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    machine = set_backend(args.backend) if args.backend else active_backend()
    if args.wrong:
        require_matplotlib()
    _, metadata = read_weights(args.weights)
    model_name, dataset = (getattr(args, what) or named(what, metadata, args.weights) for what in CHOICES)
    images, labels = data.load(dataset, args.data_dir, quiet=args.quiet).test
    names = data.class_names(dataset)
    model = models.BY_NAME[model_name](len(names), 0, input_shape=images.shape[1:])
    try:
        load_weights(model, args.weights)
    except CheckpointError as error:
        says = " ".join(f"--{what} {metadata[what]}" for what in CHOICES if what in metadata) or "neither"
        raise CheckpointError(f"{error}; the file says: {says}") from None

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
        classes = [
            {"name": name} | row._asdict() for name, row in zip(names, per_class(confusion), strict=True)
        ]
        print(json.dumps({
            "model": model_name, "dataset": dataset, "backend": machine.name, "images": len(labels),
            "correct": correct, "test_accuracy": accuracy, "classes": classes, "confusion": confusion.tolist(),
        }))  # fmt: skip
    else:
        share = f"{correct:,} of {len(labels):,} images of {dataset}"
        print(f"test accuracy {accuracy:.2%}: {model_name} is right on {share}")
    return 0


def named(what: str, metadata: dict[str, str], file: Path) -> str:
    """Return the model's or the data set's name from a file's metadata."""
    if (name := metadata.get(what)) in CHOICES[what]:
        return name
    found = f"names the {what} {name!r}" if name else f"names no {what}"
    raise CheckpointError(f"{file}: {found}; pass --{what} with one of: {', '.join(CHOICES[what])}")


def png(text: str) -> Path:
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"expected a file's name that ends in .png, got {text!r}")
    return Path(text)


if __name__ == "__main__":
    run(main)
