"""Train a network, and print how well it does on the test images.

    python scripts/train.py                                   the book's SimpleConvNet on MNIST
    XPCNN_BACKEND=cupy python scripts/train.py                the same on an NVIDIA GPU
    python scripts/train.py --model deep --augment --output runs/deep --checkpoint-every 100
    python scripts/train.py --resume runs/deep                go on from its last checkpoint, to the bit

Ctrl-C, or SIGTERM, ends it cleanly: the weights, and a checkpoint, are saved in the folder of --output, or else the
weights in a file whose name is printed. Until it ends no other run may write to that folder. A resumed run takes its
configuration from the checkpoint. Only --backend, --checkpoint-every and what --data-dir, --metrics, --json and --quiet
say may be new; and --epochs may grow if the schedule is constant, since any other is laid out over all epochs from the
first step on.
"""

import argparse
import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from tqdm import tqdm

import xpcnn
from xpcnn import data, models, optimizers, schedules
from xpcnn.backend import Backend, active_backend, set_backend, synchronize
from xpcnn.checkpoint import load_checkpoint, read_config
from xpcnn.checkpoint._lock import locked
from xpcnn.checkpoint.runs import CHECKPOINT, Record
from xpcnn.commands.command_line import (
    WHERE,
    backend_name,
    counted,
    ended_by,
    ignore_signals,
    image_bar,
    not_negative,
    positive,
    run,
    stoppable,
    whole,
)
from xpcnn.data.datasets import LOADERS
from xpcnn.errors import CheckpointError, DivergenceError
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.training import evaluate, train
from xpcnn.training.state import Position

EPOCHS, MORE_EPOCHS = {"simple": 3, "deep": 5, "lenet5": 5}, 10
AUGMENTATION = {
    "mnist": data.RandomAffine(degrees=10, scale=0.1, shift=2),
    "fashion-mnist": data.Compose(data.Crop(2), data.Flip()),
    "cifar10": data.Compose(data.Crop(4), data.Flip()),
}
# where things lie and what is shown; and what a resumed run may have otherwise
NO_CONFIGURATION = {"data_dir", "output", "metrics", "resume", "json", "quiet"}
FREE = {"backend", "checkpoint_every", "xpcnn", "numpy"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add, epochs = parser.add_argument, ", ".join(f"{count} for {name}" for name, count in EPOCHS.items())
    add("--model", choices=models.BY_NAME, default="simple", help="network (default: %(default)s)")
    add("--dataset", choices=LOADERS, default="mnist", help="(default: %(default)s, which is built in)")
    add("--data-dir", type=Path, metavar="DIR", help="folder of the data set's files (default: $XPCNN_DATA)")
    add(
        "--epochs",
        type=whole(1),
        metavar="E",
        help=f"passes over the images (default: {epochs}, else {MORE_EPOCHS})",
    )
    add("--batch-size", type=whole(1), default=100, metavar="B", help="images a step (default: %(default)s)")
    add("--optimizer", choices=optimizers.BY_NAME, default="adam", help="(default: %(default)s)")
    add("--lr", type=positive, default=0.003, help="learning rate, at its highest (default: %(default)s)")
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
    add(
        "--augment", action="store_true", help="turn, zoom, shift, crop or flip images, as suits the data set"
    )
    add("--seed", type=whole(0), default=0, help="of all that is drawn at random (default: %(default)s)")
    add("--backend", type=backend_name, metavar="NAME", help=WHERE)
    add("--limit", type=whole(1), metavar="N", help="train on the first N images; test on all")
    add("--output", type=Path, metavar="DIR", help="for weights.safetensors, metrics.jsonl, config.json")
    add(
        "--checkpoint-every", type=whole(1), metavar="STEPS", help="save all that --resume needs, in --output"
    )
    add("--resume", type=Path, metavar="DIR", help="go on with the run whose checkpoint is in this folder")
    add("--metrics", type=Path, metavar="FILE", help="write one line of JSON an epoch")
    add("--json", action="store_true", help="end with one line of JSON, the result")
    add("--quiet", action="store_true", help="print the result only")
    args = parser.parse_args()
    if args.resume:
        args = resumed(parser, args)
    if args.checkpoint_every and not args.output:
        parser.error("argument --checkpoint-every: expected --output DIR as well, the folder to write to")
    return args


def resumed(parser: argparse.ArgumentParser, args: argparse.Namespace) -> argparse.Namespace:
    """Read the flags once more, with the checkpoint's configuration for defaults; they may not contradict it."""
    file = args.resume / CHECKPOINT
    config = {**read_config(file), "output": args.resume}
    if lacking := ", ".join(sorted(vars(args).keys() - NO_CONFIGURATION - config.keys())):
        raise CheckpointError(
            f"{file}: its configuration lacks {lacking}; go on with the program that wrote it"
        )
    from_environment = {"backend": None} if os.environ.get("XPCNN_BACKEND") else {}
    parser.set_defaults(**config | from_environment)
    args = parser.parse_args()
    for name in config.keys() - FREE:
        flag, given, saved = f"--{name.replace('_', '-')}", getattr(args, name), config[name]
        longer = name == "epochs" and given > saved
        if given != saved and not (longer and config["schedule"] == "constant"):
            why = f" (its {config['schedule']} schedule is laid out over all epochs)" if longer else ""
            raise CheckpointError(
                f"{file}: {flag} is {saved} there{why}, got {flag} {given}; leave {flag} out, or start a new run "
                "without --resume"
            )
    return args


def main() -> int:
    args = arguments()
    machine = set_backend(args.backend) if args.backend else active_backend()
    dataset = data.load(args.dataset, args.data_dir, quiet=args.quiet)
    with ExitStack() as stack:
        # train() finds a loss that is not finite, and names the step
        stack.enter_context(np.errstate(over="ignore", invalid="ignore"))
        if args.output:  # until this process ends nobody else may write there
            args.output.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(args.output))
        if args.metrics:
            stack.enter_context(locked(args.metrics))
        return train_network(args, machine, dataset)


def train_network(args: argparse.Namespace, machine: Backend, dataset: data.Dataset) -> int:
    images, labels = (part[: args.limit] for part in dataset.train)
    epochs = args.epochs or EPOCHS.get(args.model, MORE_EPOCHS)
    steps = epochs * -(-len(images) // args.batch_size)

    rng = np.random.default_rng(args.seed)
    model = models.BY_NAME[args.model](len(data.class_names(args.dataset)), rng, input_shape=images.shape[1:])
    optimizer = optimizers.BY_NAME[args.optimizer](
        model.parameters(), args.lr, weight_decay=args.weight_decay, clip_norm=args.clip_norm
    )
    schedule = schedules.warm_up(schedules.by_name(args.schedule, args.lr, steps), args.warm_up)
    config = {name: value for name, value in vars(args).items() if name not in NO_CONFIGURATION}
    config |= {"epochs": epochs, "backend": machine.name, "xpcnn": xpcnn.__version__, "numpy": np.__version__}
    position = load_checkpoint(args.resume / CHECKPOINT, model, optimizer) if args.resume else Position(rng)
    record = Record(config, args.output, args.metrics, position if args.resume else None)

    say = (lambda text: None) if args.quiet else tqdm.write  # print, with the bar out of the way
    numbers = sum(parameter.data.size for parameter in optimizer.parameters)
    say(
        f"{args.model} on {args.dataset}: {len(images):,} images, {numbers:,} parameters, backend {machine.name}"
    )
    if args.resume:
        say(f"resumed in epoch {position.epoch} after {optimizer.steps} of {steps} steps")
    # seconds and images are those of this process
    epoch, spent, trained, begin = position.epoch - 1, 0.0, 0, time.perf_counter()
    done = min(position.step * args.batch_size, len(images))

    def save_checkpoint_between(batches):
        for batch in batches:
            yield batch
            if args.checkpoint_every and optimizer.steps % args.checkpoint_every == 0:
                record.checkpoint(model, optimizer, position)

    try:
        with image_bar(epochs * len(images), args.quiet) as bar, stoppable() as between:
            bar.update(epoch * len(images) + done)
            for epoch, loss in train(
                model, SoftmaxCrossEntropy(), optimizer, (images, labels),
                epochs=epochs, batch_size=args.batch_size, position=position, schedule=schedule,
                transform=AUGMENTATION[args.dataset] if args.augment else None,
                progress=lambda batches: save_checkpoint_between(between(counted(bar, batches, "training"))),
            ):  # fmt: skip
                synchronize()
                seconds = max(time.perf_counter() - begin, 1e-9)  # a clock may stand still
                spent, trained = spent + seconds, trained + len(images) - done
                bar.set_description("testing")
                accuracy = evaluate(model, dataset.test, progress=between)
                record.add(
                    {"epoch": epoch, "train_loss": loss, "test_accuracy": accuracy, "seconds": seconds,
                     "images_per_second": (len(images) - done) / seconds, "lr": optimizer.lr},
                    model, optimizer.steps,
                )  # fmt: skip
                if args.checkpoint_every:
                    record.checkpoint(model, optimizer, position)
                say(f"epoch {epoch}/{epochs}  loss {loss:.4f}  test accuracy {accuracy:.2%}  {seconds:.1f} s")
                done, begin = 0, time.perf_counter()
    except KeyboardInterrupt as interrupt:
        ignore_signals()
        code, how = ended_by(interrupt)
        record.checkpoint(model, optimizer, position)  # first: it refuses a loss that is not finite
        file = record.save(model, optimizer.steps)
        ended = f"{how} after {optimizer.steps} of {steps} steps"
        on = f"; go on with: python scripts/train.py --resume {args.output}" if args.output else ""
        print(f"train.py: {ended}{on}; the weights are in {file}", file=sys.stderr)
        return code
    except DivergenceError as error:
        kept = f"; the weights of epoch {epoch} are in {record.weights}" if args.output and epoch else ""
        raise DivergenceError(f"{error}{kept}") from None

    if args.output:
        say(f"weights in {record.weights}; next: python scripts/evaluate.py {record.weights}")
    if args.json:
        print(json.dumps({
            "model": args.model, "backend": machine.name, "epochs": epochs, "train_loss": loss,
            "test_accuracy": accuracy, "seconds": spent, "images_per_second": trained / spent,
        }))  # fmt: skip
    else:
        print(f"test accuracy {accuracy:.2%} after {epochs} epochs, {spent:.1f} s of training")
    return 0


if __name__ == "__main__":
    run(main)
