"""A training run of the command line: what it prints, what it leaves on disk, and its ends."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import xpcnn
from xpcnn import optimizers, schedules
from xpcnn.backend import Backend, synchronize
from xpcnn.checkpoint import load_checkpoint, load_weights
from xpcnn.checkpoint.runs import BEST, CHECKPOINT, Record
from xpcnn.commands.command_line import (
    called,
    counted,
    ended_by,
    ignore_signals,
    image_bar,
    speaker,
    stoppable,
)
from xpcnn.commands.datasets import Sets
from xpcnn.errors import DivergenceError, ExtraError
from xpcnn.layers import Layer
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.training import MovingAverage, evaluate, train
from xpcnn.training.state import Position
from xpcnn.visualization import draw_curves, save_png


class Saver:
    """Writes what a run leaves, with the averaged weights in the place of the model's own if --ema is given."""

    def __init__(
        self,
        record: Record,
        model: Layer,
        optimizer: optimizers.Optimizer,
        position: Position,
        ema: float | None,
    ) -> None:
        self.record, self.model, self.optimizer, self.position = record, model, optimizer, position
        self.average = None if ema is None else MovingAverage(optimizer, ema)
        self.best_epoch, self.best_accuracy = record.best()

    def tested(self) -> AbstractContextManager[None]:
        """Inside the ``with`` block the model has the weights that are tested and saved."""
        return self.average.in_place() if self.average else nullcontext()

    def resume(self, file: Path) -> None:
        """Read a checkpoint, and the averaged weights that belong to it."""
        if self.average:
            self.record.load_average(self.model, self.optimizer.steps)
            self.average.values[...] = self.optimizer.data
            load_checkpoint(file, self.model, self.optimizer)

    def checkpoint(self) -> None:
        """Write a checkpoint: the averaged weights first, since a killed process may not come to the second file."""
        steps = self.optimizer.steps
        if self.average:
            with self.tested():
                self.record.save_average(self.model, steps)
        self.record.checkpoint(self.model, self.optimizer, self.position)
        self.record.forget_averages(steps)

    def weights(self) -> Path:
        """Write the weights, and return their file."""
        with self.tested():
            return self.record.save(self.model, self.optimizer.steps)

    def epoch(self, line: dict[str, Any]) -> None:
        """Write down an epoch: the best weights, if these are, the weights, a line of metrics."""
        accuracy = line.get("validation_accuracy")
        with self.tested():
            if accuracy is not None and accuracy > self.best_accuracy:
                self.best_epoch, self.best_accuracy = line["epoch"], accuracy
                self.record.save_best(self.model, self.optimizer.steps, line["epoch"], accuracy)
            self.record.add(line, self.model, self.optimizer.steps)


def train_network(
    args: argparse.Namespace,
    config: dict[str, Any],
    machine: Backend,
    sets: Sets,
    model: Layer,
    rng: np.random.Generator,
    transform: Any,
) -> int:
    """Train as the arguments say; return the exit status."""
    images, labels = sets.train
    epochs, steps = args.epochs, args.epochs * -(-len(images) // args.batch_size)
    optimizer = optimizers.BY_NAME[args.optimizer](
        model.parameters(), args.lr, weight_decay=args.weight_decay, clip_norm=args.clip_norm
    )
    schedule = schedules.warm_up(schedules.by_name(args.schedule, args.lr, steps), args.warm_up)
    config = config | {
        "backend": machine.name, "xpcnn": xpcnn.__version__, "numpy": np.__version__,
        "classes": list(sets.classes), "input_shape": list(images.shape[1:]),
    }  # fmt: skip
    file = args.resume / CHECKPOINT if args.resume else None
    position = load_checkpoint(file, model, optimizer) if file else Position(rng)
    record = Record(config, args.output, args.metrics, position if file else None)
    saver = Saver(record, model, optimizer, position, args.ema)
    if file:
        saver.resume(file)

    def say(text: str) -> None:  # print, with the bar out of the way
        if not args.quiet:
            tqdm.write(text)

    size = sum(parameter.data.size for parameter in optimizer.parameters)
    say(f"{args.model} on {args.dataset}: {len(images):,} images, {size:,} parameters, "
        f"backend {machine.name}")  # fmt: skip
    if file:
        say(f"resumed in epoch {position.epoch} after {optimizer.steps} of {steps} steps")
    which, judged = ("validation", sets.validation) if sets.validation else ("test", sets.test)
    if which == "test" and epochs > 1:
        say("the accuracy after each epoch is that of the test images; --validation N chooses by others")
    writer = open_tensorboard(args.output) if args.tensorboard else None
    # seconds and images are those of this process
    epoch, spent, trained, begin = position.epoch - 1, 0.0, 0, time.perf_counter()
    done, accuracy, loss = min(position.step * args.batch_size, len(images)), 0.0, 0.0

    def after_each_step(batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            yield batch
            if saver.average:
                saver.average.update()
            if args.checkpoint_every and optimizer.steps % args.checkpoint_every == 0:
                saver.checkpoint()

    try:
        with image_bar(epochs * len(images), args.quiet) as bar, stoppable() as between:
            bar.update(epoch * len(images) + done)
            for epoch, loss in train(
                model, SoftmaxCrossEntropy(), optimizer, (images, labels),
                epochs=epochs, batch_size=args.batch_size, position=position, schedule=schedule, transform=transform,
                progress=lambda batches: after_each_step(between(counted(bar, batches, "training"))),
            ):  # fmt: skip
                synchronize()
                seconds = max(time.perf_counter() - begin, 1e-9)  # a clock may stand still
                spent, trained = spent + seconds, trained + len(images) - done
                bar.set_description("testing")
                with saver.tested():
                    accuracy = evaluate(model, judged, progress=between)
                line = {"epoch": epoch, "train_loss": loss, f"{which}_accuracy": accuracy, "seconds": seconds,
                        "images_per_second": (len(images) - done) / seconds, "lr": optimizer.lr}  # fmt: skip
                saver.epoch(line)
                if args.checkpoint_every:
                    saver.checkpoint()
                if writer:
                    for name in ("train_loss", f"{which}_accuracy", "lr"):
                        writer.add_scalar(name, line[name], epoch)
                say(
                    f"epoch {epoch}/{epochs}  loss {loss:.4f}  {which} accuracy {accuracy:.2%}  {seconds:.1f} s"
                )
                done, begin = 0, time.perf_counter()
                if args.patience and epoch - saver.best_epoch >= args.patience:
                    say(f"stopped: no better validation accuracy for {args.patience} epochs")
                    break
            test_accuracy = final_test(saver, sets, accuracy, between)
    except KeyboardInterrupt as interrupt:
        ignore_signals()
        code, how = ended_by(interrupt)
        saver.checkpoint()  # first: it refuses a loss that is not finite
        weights = saver.weights()
        where = f" --data-dir {shlex.quote(str(args.data_dir))}" if args.data_dir else ""
        on = f"{called('train')} --resume {shlex.quote(str(args.output))}{where}"
        sys.stderr.write(
            f"{speaker()}: {how} after {optimizer.steps} of {steps} steps; go on with: {on}; the weights are in "
            f"{weights}\n"
        )
        return code
    except DivergenceError as error:
        kept = f"; the weights of epoch {epoch} are in {record.weights}" if epoch else ""
        raise DivergenceError(f"{error}{kept}") from None
    finally:
        if writer:
            writer.close()

    result = {
        "model": args.model, "backend": machine.name, "epochs": epoch, "train_loss": loss,
        "test_accuracy": test_accuracy, "seconds": spent, "images_per_second": trained / spent,
        "output": str(args.output),
    }  # fmt: skip
    if sets.validation:
        chosen = {"best_epoch": saver.best_epoch, "validation_accuracy": saver.best_accuracy}
        result |= chosen
        record.finish({"test_accuracy": test_accuracy, **chosen})
    if args.plot:
        save_png(draw_curves(record.epochs(), f"{args.model} on {args.dataset}"), args.output / "curves.png")
    if args.json:
        print(json.dumps(result))
        return 0
    best = f" with the weights of epoch {saver.best_epoch}, the best" if sets.validation else ""
    print(f"test accuracy {test_accuracy:.2%}{best} after {epoch} epochs, {spent:.1f} s of training")
    say(f"saved in {args.output}; go on with: {called('evaluate')} {shlex.quote(str(args.output))}")
    return 0


def final_test(saver: Saver, sets: Sets, accuracy: float, between: Any) -> float:
    """Return the accuracy on the test images: the last epoch's, or with validation that of the best epoch's weights."""
    if sets.validation is None:
        return accuracy
    assert saver.record.folder is not None
    best = saver.model.copy()  # the model itself may yet go into a checkpoint
    load_weights(best, saver.record.folder / BEST)
    return float(evaluate(best, sets.test, progress=between))


def require_tensorboard() -> Any:
    """Return the module, or raise ExtraError with the command that installs it."""
    try:
        import tensorboard.summary
    except ImportError as error:
        raise ExtraError(
            f'writing events needs TensorBoard ({error}); run: pip install "xpcnn[tensorboard]"'
        ) from error
    return tensorboard.summary


def open_tensorboard(folder: Path) -> Any:
    """Return a writer of events into a run's folder; ``tensorboard --logdir runs`` shows them."""
    return require_tensorboard().Writer(str(folder))
