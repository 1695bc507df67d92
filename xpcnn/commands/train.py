"""Train a network, save it, and print how well it does.

    xpcnn train                                           the book's SimpleConvNet on MNIST
    XPCNN_BACKEND=cupy xpcnn train                        the same on an NVIDIA GPU
    xpcnn train --model deep --augment --validation 5000 --patience 3
    xpcnn train --model alexnet --dataset folder --data-dir pets --size 224
    xpcnn train --output runs/deep --checkpoint-every 100
    xpcnn train --resume runs/deep                        go on from its last checkpoint, to the bit

A run is saved in runs/MODEL-DATASET-TIME, or in the folder of --output: weights.safetensors, metrics.jsonl and
config.json. Ctrl-C, or SIGTERM, ends it cleanly, with a checkpoint. Until it ends no other run may write to its folder.

A resumed run takes its configuration from the checkpoint. Only --backend, --checkpoint-every, --tensorboard, --plot
and what --data-dir, --metrics, --json and --quiet say may be new; and --epochs may grow if the schedule is constant,
since any other is laid out over all epochs from the first step on.
"""

import argparse
import os
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import numpy as np

from xpcnn import data, models, optimizers, schedules
from xpcnn.backend import active_backend, set_backend
from xpcnn.checkpoint import read_config
from xpcnn.checkpoint._lock import locked
from xpcnn.checkpoint.runs import CHECKPOINT
from xpcnn.commands.command_line import (
    WHERE,
    backend_name,
    called,
    image_size,
    new_parser,
    not_negative,
    positive,
    whole,
)
from xpcnn.commands.datasets import Sets, limited, load_dataset, with_validation
from xpcnn.commands.models import by, fitting
from xpcnn.commands.run import require_tensorboard, train_network
from xpcnn.commands.trained import RUNS
from xpcnn.data.datasets import LOADERS
from xpcnn.errors import CheckpointError, ShapeError
from xpcnn.layers import Layer
from xpcnn.visualization import require_matplotlib

EPOCHS, MORE_EPOCHS = {"simple": 3, "deep": 5, "lenet5": 5}, 10
RATES = {
    "sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "adagrad": 0.03, "rmsprop": 0.003, "adam": 0.003, "adamw": 0.003,
}  # fmt: skip
"""The learning rate that suits each optimizer, at its highest."""

AUGMENTATION = {
    "mnist": data.RandomAffine(degrees=10, scale=0.1, shift=2),
    "fashion-mnist": data.Compose(data.Crop(2), data.Flip()),
    "cifar10": data.Compose(data.Crop(4), data.Flip()),
    "folder": data.Flip(),
}

# where things are and what is shown; and what a resumed run may have otherwise
NO_CONFIGURATION = {"data_dir", "output", "metrics", "resume", "json", "quiet", "tensorboard", "plot"}
FREE = {"backend", "checkpoint_every", "xpcnn", "numpy", "classes", "input_shape"}
NEW = {"validation": None, "patience": None, "ema": None, "size": None, "grey": False, "limit_test": "all"}
"""What the configurations of version 0.1 lack, as it trained then."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    trained = new_parser("train", __doc__)
    add, epochs = trained.add_argument, ", ".join(f"{count} for {name}" for name, count in EPOCHS.items())
    rates = ", ".join(f"{name} {rate:g}" for name, rate in RATES.items())
    add(
        "--model",
        choices=models.BY_NAME,
        default="simple",
        metavar="NAME",
        help=f"network: simple, deep, lenet5, resnet20, ..., as in {called('models')} (default: %(default)s)",
    )
    add("--dataset", choices=(*LOADERS, "folder"), default="mnist",
        help="(default: %(default)s, which is built in); folder: your own images in --data-dir")  # fmt: skip
    add("--data-dir", type=Path, metavar="DIR",
        help="folder of the data set's files (default: $XPCNN_DATA); of --dataset folder: DIR/CLASS/IMAGE")  # fmt: skip
    add(
        "--size",
        type=image_size,
        metavar="S",
        help="of --dataset folder: resize images to S x S, or HEIGHTxWIDTH",
    )
    add("--grey", action="store_true", help="of --dataset folder: read images without colour")
    add("--validation", type=whole(1), metavar="N",
        help="hold N training images back: the best epoch by them is kept as best.safetensors, and the test images "
        "are used once, at the end (default: test after each epoch)")  # fmt: skip
    add(
        "--patience",
        type=whole(1),
        metavar="E",
        help="stop after E epochs without a better validation accuracy",
    )
    add("--epochs", type=whole(1), metavar="E",
        help=f"passes over the images (default: {epochs}, else {MORE_EPOCHS})")  # fmt: skip
    add("--batch-size", type=whole(1), default=100, metavar="B", help="images a step (default: %(default)s)")
    add("--optimizer", choices=optimizers.BY_NAME, default="adam", help="(default: %(default)s)")
    add("--lr", type=positive, help=f"learning rate, at its highest (default: {rates})")
    add("--schedule", choices=schedules.NAMES, default="one-cycle", help="its course (default: %(default)s)")
    add(
        "--warm-up", type=whole(0), default=0, metavar="STEPS", help="of a linear rise (default: %(default)s)"
    )
    add("--weight-decay", type=not_negative, default=0.0, metavar="D", help="(default: %(default)s)")
    add(
        "--clip-norm",
        type=positive,
        metavar="NORM",
        help="scale gradients down to this norm (default: never)",
    )
    add("--ema", type=decay, metavar="DECAY",
        help="test and save a moving average of the weights, 0.999 say (default: the weights themselves)")  # fmt: skip
    add("--augment", action="store_true",
        help="rotate, zoom, shift, crop or flip images, as suits the data set")  # fmt: skip
    add("--seed", type=whole(0), default=0, help="of all that is drawn at random (default: %(default)s)")
    add("--backend", type=backend_name, metavar="NAME", help=WHERE)
    add("--limit", type=whole(1), metavar="N", help="train on the first N images, and test on the first N")
    add(
        "--limit-test",
        type=limit,
        metavar="N",
        help='test on the first N images, or "all" (default: --limit\'s)',
    )
    add("--output", type=Path, metavar="DIR", help="folder of the run (default: runs/MODEL-DATASET-TIME)")
    add("--checkpoint-every", type=whole(1), metavar="STEPS", help="save all that --resume needs")
    add("--resume", type=Path, metavar="DIR", help="go on with the run whose checkpoint is in this folder")
    add("--metrics", type=Path, metavar="FILE", help="write one line of JSON an epoch there too")
    add("--tensorboard", action="store_true", help="write events for TensorBoard (needs xpcnn[tensorboard])")
    add("--plot", action="store_true", help="draw the learning curves when the run ends (needs xpcnn[viz])")
    add("--json", action="store_true", help="end with one line of JSON, the result")
    add("--quiet", action="store_true", help="print the result only")
    return trained


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the arguments, and with --resume the checkpoint's configuration; fill in what depends on others."""
    asked = parser()
    args = asked.parse_args(given)
    if args.resume:
        args = resumed(asked, args, given)
    if args.patience and not args.validation:
        asked.error("argument --patience: expected --validation N as well, the images that it watches")
    if args.dataset != "folder" and (args.size or args.grey):
        asked.error("arguments --size and --grey: expected --dataset folder as well")
    if args.dataset == "folder" and not args.data_dir:
        asked.error(
            "argument --dataset folder: expected --data-dir DIR as well, a folder of images for each class"
        )
    args.lr = args.lr or RATES[args.optimizer]
    args.epochs = args.epochs or EPOCHS.get(args.model, MORE_EPOCHS)
    args.size = args.size and tuple(args.size)
    return args


def resumed(
    asked: argparse.ArgumentParser, args: argparse.Namespace, given: Sequence[str] | None
) -> argparse.Namespace:
    """Read the flags once more, with the checkpoint's configuration for defaults; they may not contradict it."""
    file = args.resume / CHECKPOINT
    config = {**NEW, **read_config(file), "output": args.resume}
    if lacking := ", ".join(sorted(vars(args).keys() - NO_CONFIGURATION - config.keys())):
        raise CheckpointError(
            f"{file}: its configuration lacks {lacking}; go on with the program that wrote it"
        )
    config["size"] = config["size"] and tuple(config["size"])
    from_environment = {"backend": None} if os.environ.get("XPCNN_BACKEND") else {}
    asked.set_defaults(**config | from_environment)
    args = asked.parse_args(given)
    for name in config.keys() - FREE:
        flag, new, saved = f"--{name.replace('_', '-')}", getattr(args, name), config[name]
        longer = name == "epochs" and new > saved
        if new != saved and not (longer and config["schedule"] == "constant"):
            why = f" (its {config['schedule']} schedule is laid out over all epochs)" if longer else ""
            raise CheckpointError(
                f"{file}: {flag} is {saved} there{why}, got {flag} {new}; leave {flag} out, or start a new run "
                "without --resume"
            )
    return args


def main(given: Sequence[str] | None = None) -> int:
    """Train; return the exit status."""
    args = arguments(given)
    machine = set_backend(args.backend) if args.backend else active_backend()
    if args.plot:
        require_matplotlib()
    if args.tensorboard:
        require_tensorboard()
    sets = load_dataset(args.dataset, args.data_dir, args.size, 1 if args.grey else 3, args.quiet)
    args.limit_test = args.limit_test or args.limit or "all"
    sets = limited(sets, args.limit, None if args.limit_test == "all" else args.limit_test)
    sets = with_validation(sets, args.validation) if args.validation else sets
    model = network(args, sets)
    with ExitStack() as stack:
        # train() finds a loss that is not finite, and names the step
        stack.enter_context(np.errstate(over="ignore", invalid="ignore"))
        args.output = args.output or new_folder(args.model, args.dataset)
        args.output.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(args.output))  # until this process ends nobody else may write there
        if args.metrics:
            stack.enter_context(locked(args.metrics))
        config = {name: value for name, value in vars(args).items() if name not in NO_CONFIGURATION}
        transform = AUGMENTATION[args.dataset] if args.augment else None
        return train_network(args, config, machine, sets, *model, transform)


def network(args: argparse.Namespace, sets: Sets) -> tuple[Layer, np.random.Generator]:
    """Build the network for the images, and return it with the generator that drew its weights.

    Raises
    ------
    ShapeError
        If it does not fit them, with those that do.
    """
    shape = sets.train.images.shape[1:]
    rng = np.random.default_rng(args.seed)
    try:
        return models.BY_NAME[args.model](len(sets.classes), rng, input_shape=shape), rng
    except ShapeError:
        others = ", ".join(fitting(shape)) or "none"
        larger = (
            "--size 224"
            if args.dataset == "folder"
            else "your own images: --dataset folder --data-dir DIR --size 224"
        )
        raise ShapeError(
            f"--model {args.model}: it does not fit the images of {args.dataset}, {by(shape)}; "
            f"pass one that does ({others}), or {larger}"
        ) from None


def new_folder(model: str, dataset: str) -> Path:
    """Make a folder for a run, of a name that nobody else has."""
    name = f"{model}-{dataset}-{datetime.now():%Y%m%d-%H%M%S}"
    for number in range(1, 1000):
        folder = RUNS / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
    raise FileExistsError(f"{RUNS / name}")


def decay(text: str) -> float:
    """Read a number between 0 and 1, for argparse."""
    value = positive(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, such as 0.999, got {text!r}")
    return value


def limit(text: str) -> int | str:
    """Read a number of images or "all", for argparse."""
    return text if text == "all" else whole(1)(text)
