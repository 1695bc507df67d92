"""Train a network, and print how well it does on the test images.

    python scripts/train.py                                   the book's SimpleConvNet on MNIST
    XPCNN_BACKEND=cupy python scripts/train.py                the same on an NVIDIA GPU
    python scripts/train.py --model deep --augment --output runs/deep

Ctrl-C ends it cleanly: the weights are saved in the folder of --output, or else in a file whose name is printed.
"""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

import xpcnn
from xpcnn import data, models, optimizers, schedules
from xpcnn.backend import NAMES, active_backend, set_backend, synchronize
from xpcnn.command_line import INTERRUPTED, counted, image_bar, not_negative, positive, run, whole
from xpcnn.data.datasets import LOADERS
from xpcnn.errors import DivergenceError
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.record import Record
from xpcnn.training import evaluate, train

EPOCHS, MORE_EPOCHS = {"simple": 3, "deep": 5, "lenet5": 5}, 10
AUGMENTATION = {
    "mnist": data.RandomAffine(degrees=10, scale=0.1, shift=2),
    "fashion-mnist": data.Compose(data.Crop(2), data.Flip()),
    "cifar10": data.Compose(data.Crop(4), data.Flip()),
}
NO_CONFIGURATION = {"data_dir", "output", "metrics", "json", "quiet"}  # where things lie and what is shown


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add, epochs = parser.add_argument, ", ".join(f"{count} for {name}" for name, count in EPOCHS.items())
    add("--model", choices=models.BY_NAME, default="simple", help="network (default: %(default)s)")
    add("--dataset", choices=LOADERS, default="mnist", help="(default: %(default)s, which is built in)")
    add("--data-dir", type=Path, metavar="DIR", help="folder of the data set's files (default: $XPCNN_DATA)")
    add("--epochs", type=whole(1), metavar="E", help=f"passes over the images (default: {epochs}, else {MORE_EPOCHS})")
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
    add("--backend", choices=NAMES, help="where to compute (default: $XPCNN_BACKEND, or numpy)")
    add("--limit", type=whole(1), metavar="N", help="train on the first N images; test on all")
    add("--output", type=Path, metavar="DIR", help="for weights.safetensors, metrics.jsonl, config.json")
    add("--metrics", type=Path, metavar="FILE", help="write one line of JSON an epoch")
    add("--json", action="store_true", help="end with one line of JSON, the result")
    add("--quiet", action="store_true", help="print the result only")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    machine = set_backend(args.backend) if args.backend else active_backend()
    np.seterr(over="ignore", invalid="ignore")  # train() finds a loss that is not finite, and names the step
    dataset = data.load(args.dataset, args.data_dir, quiet=args.quiet)
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
    record = Record(config, args.output, args.metrics)

    say = (lambda text: None) if args.quiet else tqdm.write  # print, with the bar out of the way
    say(f"{args.model} on {args.dataset}: {len(images):,} images, {optimizer.data.size:,} parameters, "
        f"backend {machine.name}")  # fmt: skip
    epoch, spent, begin = 0, 0.0, time.perf_counter()
    try:
        with image_bar(epochs * len(images), args.quiet) as bar:
            for epoch, loss in train(
                model, SoftmaxCrossEntropy(), optimizer, (images, labels),
                epochs=epochs, batch_size=args.batch_size, rng=rng, schedule=schedule,
                transform=AUGMENTATION[args.dataset] if args.augment else None,
                progress=lambda batches: counted(bar, batches, "training"),
            ):  # fmt: skip
                synchronize()
                seconds = time.perf_counter() - begin
                spent += seconds
                bar.set_description("testing")
                accuracy = evaluate(model, dataset.test)
                record.add(
                    {"epoch": epoch, "train_loss": loss, "test_accuracy": accuracy, "seconds": seconds,
                     "images_per_second": len(images) / seconds, "lr": optimizer.lr}, model, optimizer.steps,
                )  # fmt: skip
                say(f"epoch {epoch}/{epochs}  loss {loss:.4f}  test accuracy {accuracy:.2%}  {seconds:.1f} s")
                begin = time.perf_counter()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would undo what the first one saves
        file = record.save(model, optimizer.steps)
        done = f"interrupted after {optimizer.steps} of {steps} steps"
        print(f"train.py: {done}; the weights are in {file}", file=sys.stderr)
        return INTERRUPTED
    except DivergenceError as error:
        kept = f"; the weights of epoch {epoch} are in {record.weights}" if args.output and epoch else ""
        raise DivergenceError(f"{error}{kept}") from None

    if args.output:
        say(f"weights in {record.weights}; next: python scripts/evaluate.py {record.weights}")
    if args.json:
        print(json.dumps({
            "model": args.model, "backend": machine.name, "epochs": epochs, "train_loss": loss,
            "test_accuracy": accuracy, "seconds": spent, "images_per_second": epochs * len(images) / spent,
        }))  # fmt: skip
    else:
        print(f"test accuracy {accuracy:.2%} after {epochs} epochs, {spent:.1f} s of training")
    return 0


if __name__ == "__main__":
    run(main)
