"""Train a network, and print how well it does on the test images.

    python scripts/train.py                                   the book's SimpleConvNet on MNIST
    XPCNN_BACKEND=cupy python scripts/train.py                the same on an NVIDIA GPU
    python scripts/train.py --model deep --augment --output runs/deep
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import xpcnn
from xpcnn import backend, data, models, optimizers, schedules
from xpcnn.checkpoint import save_weights
from xpcnn.data.datasets import LOADERS
from xpcnn.errors import XpcnnError
from xpcnn.files import keep_former, replacing
from xpcnn.layers import Layer
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.training import evaluate, train

EPOCHS = {"simple": 3, "deep": 5, "lenet5": 5}
AUGMENTATION = {
    "mnist": data.RandomAffine(degrees=10, scale=0.1, shift=2),
    "fashion-mnist": data.Compose(data.Crop(2), data.Flip()),
    "cifar10": data.Compose(data.Crop(4), data.Flip()),
}
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--model", choices=models.BY_NAME, default="simple", help="network (default: %(default)s)")
    add("--dataset", choices=LOADERS, default="mnist", help="data set (default: %(default)s, which is built in)")
    add("--data-dir", metavar="DIR", help="folder of the data set's files (default: $XPCNN_DATA)")
    add("--epochs", type=natural, metavar="E", help=f"passes over the images (default: {spell(EPOCHS)})")
    add("--batch-size", type=natural, default=100, metavar="B", help="images a step (default: %(default)s)")
    add("--optimizer", choices=optimizers.BY_NAME, default="adam", help="(default: %(default)s)")
    add("--lr", type=float, default=0.003, help="learning rate, at its highest (default: %(default)s)")
    add("--schedule", choices=schedules.NAMES, default="one-cycle", help="its course (default: %(default)s)")
    add("--warm-up", type=int, default=0, metavar="STEPS", help="steps of linear warm-up (default: %(default)s)")
    add("--weight-decay", type=float, default=0.0, help="(default: %(default)s)")
    add("--clip-norm", type=float, metavar="NORM", help="scale gradients down to this norm (default: never)")
    add("--augment", action="store_true", help="turn, zoom, shift, crop or flip the images, as the data set allows")
    add("--seed", type=int, default=0, help="of weights, shuffles, augmentation and dropout (default: %(default)s)")
    add("--backend", choices=backend.NAMES, help="where to compute (default: $XPCNN_BACKEND, or numpy)")
    add("--limit", type=natural, metavar="N", help="train on the first N images only")
    add("--output", type=Path, metavar="DIR", help="leave weights.safetensors, metrics.jsonl and config.json here")
    add("--metrics", type=Path, metavar="FILE", help="write one line of JSON an epoch")
    add("--json", action="store_true", help="end with one line of JSON")
    add("--quiet", action="store_true", help="no progress bar, no line an epoch")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    backend.set_backend(args.backend) if args.backend else backend.active_backend()
    dataset = data.load(args.dataset, args.data_dir, quiet=args.quiet)
    images, labels = (part[: args.limit] for part in dataset.train)
    epochs = args.epochs or EPOCHS[args.model]
    steps = epochs * -(-len(images) // args.batch_size)

    rng = np.random.default_rng(args.seed)
    classes = len(data.class_names(args.dataset))
    model = models.BY_NAME[args.model](classes, rng, input_shape=images.shape[1:])
    optimizer = optimizers.BY_NAME[args.optimizer](
        model.parameters(), args.lr, weight_decay=args.weight_decay, clip_norm=args.clip_norm
    )
    schedule = schedules.warm_up(schedules.by_name(args.schedule, args.lr, steps), args.warm_up)
    record = Record(args, epochs)
    say = (lambda *words: None) if args.quiet else print
    say(f"{args.model} on {args.dataset}: {len(images):,} images, {sum(p.data.size for p in model.parameters()):,} "
        f"parameters, backend {backend.active_backend().name}")  # fmt: skip

    history: list[dict[str, Any]] = []
    begin, spent = time.perf_counter(), 0.0
    training = train(
        model, SoftmaxCrossEntropy(), optimizer, (images, labels),
        epochs=epochs, batch_size=args.batch_size, rng=rng, schedule=schedule,
        transform=AUGMENTATION[args.dataset] if args.augment else None,
        progress=lambda batches: tqdm(batches, f"epoch {len(history) + 1}/{epochs}", leave=False, disable=args.quiet),
    )  # fmt: skip
    try:
        for epoch, loss in training:
            backend.synchronize()
            spent += (seconds := time.perf_counter() - begin)
            accuracy = evaluate(model, dataset.test)
            history.append(
                {"epoch": epoch, "train_loss": loss, "test_accuracy": accuracy, "seconds": seconds,
                 "images_per_second": len(images) / seconds, "lr": optimizer.lr}
            )  # fmt: skip
            record.epoch(history, model)
            say(f"epoch {epoch}/{epochs}  loss {loss:.4f}  test accuracy {accuracy:.2%}  {seconds:.1f} s")
            begin = time.perf_counter()
    except KeyboardInterrupt:
        file = record.save(model, interrupted=True)
        print(f"interrupted after {optimizer.steps} of {steps} steps; the weights are in {file}", file=sys.stderr)
        return INTERRUPTED

    last = history[-1]
    say(f"test accuracy {last['test_accuracy']:.2%} after {epochs} epochs, {spent:.1f} s of training")
    if args.output:
        say(f"weights in {record.weights}; next: python scripts/evaluate.py {record.weights}")
    if args.json:
        print(json.dumps({
            "model": args.model, "backend": backend.active_backend().name, "epochs": epochs,
            "train_loss": last["train_loss"], "test_accuracy": last["test_accuracy"], "seconds": spent,
            "images_per_second": epochs * len(images) / spent,
        }))  # fmt: skip
    return 0


class Record:
    """What a run leaves on disk. Files of a former run are kept under a numbered name."""

    def __init__(self, args: argparse.Namespace, epochs: int) -> None:
        self.config = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
        self.config |= {"epochs": epochs, "backend": backend.active_backend().name, "xpcnn": xpcnn.__version__}
        self.folder, self.weights = args.output, (args.output or Path()) / "weights.safetensors"
        self.metrics = [file for file in (args.metrics, args.output and args.output / "metrics.jsonl") if file]
        if self.folder:
            for file in (self.weights, self.folder / "config.json", *self.metrics):
                keep_former(file)
            with replacing(self.folder / "config.json") as handle:
                handle.write((json.dumps(self.config, indent=2) + "\n").encode())
        elif args.metrics:
            keep_former(args.metrics)

    def epoch(self, history: list[dict[str, Any]], model: Layer) -> None:
        for file in self.metrics:
            with replacing(file) as handle:
                handle.writelines(f"{json.dumps(line)}\n".encode() for line in history)
        if self.folder:
            self.save(model)

    def save(self, model: Layer, interrupted: bool = False) -> Path:
        if self.folder is None:
            self.weights = Path("interrupted.safetensors")
            keep_former(self.weights)
        save_weights(model, self.weights, {
            "model": self.config["model"], "dataset": self.config["dataset"],
            "config": json.dumps(self.config | {"interrupted": interrupted}),
        })  # fmt: skip
        return self.weights


def natural(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 up, got {text!r}")
    return int(text)


def spell(defaults: dict[str, int]) -> str:
    return ", ".join(f"{value} for {name}" for name, value in defaults.items())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except XpcnnError as error:
        sys.exit(f"train.py: {error}")
