"""Training as a loop you can read: a generator, so the caller prints, saves or stops between two epochs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from xpcnn.backend import Array, active_backend, to_device, to_host
from xpcnn.data import layout
from xpcnn.data.batches import Batches, batches
from xpcnn.data.labels import check_labels
from xpcnn.data.rows import Arrays, parts
from xpcnn.data.splits import Split, check_images, pair
from xpcnn.data.transformation import Transformation, check_images_only, takes_targets
from xpcnn.errors import DatasetError, DivergenceError, DtypeError, HyperparameterError, ShapeError
from xpcnn.errors.checks import function, number, whole
from xpcnn.layers import Layer, no_grad
from xpcnn.losses.base import check_loss, check_targets, multiplier, weight
from xpcnn.optimizers import Optimizer
from xpcnn.random import Seed
from xpcnn.schedules import Schedule
from xpcnn.training.epochs import trained_by_a_loop
from xpcnn.training.metrics import accuracy
from xpcnn.training.state import Position
from xpcnn.training.step import step

Dataset: TypeAlias = Split | tuple[Arrays, Arrays]
Metric: TypeAlias = Callable[[Any, Any], Any]
Progress: TypeAlias = Callable[[Iterable[Any]], Iterable[Any]]


@trained_by_a_loop
def train(
    model: Layer,
    criterion: Any,
    optimizer: Optimizer,
    dataset: Dataset,
    *,
    epochs: int,
    batch_size: int,
    rng: Seed = None,
    position: Position | None = None,
    schedule: Schedule | None = None,
    transform: Transformation | None = None,
    progress: Progress = iter,
) -> Iterator[tuple[int, float]]:
    """Train, yielding (epoch, mean loss) after each epoch, counted from 1.

    Checkpoints are what the caller saves between two epochs, or, within one, what `progress` saves after a batch.

    Parameters
    ----------
    criterion : a loss
        `losses`, or any object with ``criterion(y, target)`` and ``criterion.backward()``, as `losses.Loss` says.
    dataset : (images, targets)
        On the host: images uint8 (scaled to [0, 1] here) or floating, (N,C,H,W), say; targets as the loss takes
        them, one for each image: classes (N,), rows of probabilities (N,D), maps (N,H,W), numbers. For an
        autoencoder pass ``(images, images)``: then uint8 targets are scaled too. Several inputs are a tuple of
        arrays, ``((a, b), targets)``, and the model is called as ``model((a, b))``; so are several targets.
    rng : numpy Generator or seed
        Shuffles, and draws what `transform` draws.
    position : Position
        Where to begin, and with which generator; in place of `rng`. It is moved on after every step. From the end
        of an epoch, training goes on by yielding that epoch once more, without a step.
    schedule : function of the step, counted from 0, to the learning rate
        None keeps ``optimizer.lr``.
    transform : function of (float images, rng)
        Augmentation, `xpcnn.data.transforms`, of the images alone. A function of (images, targets, rng) changes both:
        `data.Paired`, say, for targets that are maps. Several inputs come and go as a tuple.
    progress : function that wraps the batches of an epoch, ``tqdm`` or `data.BatchLoader` for instance
        When it is asked for the next batch, the step of the former one is complete.

    Raises
    ------
    CheckpointError
        For a position in the middle of an epoch of another data set or batch size.
    DatasetError
        Before the first step, for an empty data set, or targets that do not fit the loss and the model's output.
    DtypeError, HyperparameterError
        Before the first step, for a model, optimizer, schedule or number of epochs that is none; at a step, for a
        schedule that gives a negative learning rate or one that is not finite.
    DivergenceError
        If the loss is not finite, naming the step: before that step's update where reading the loss costs
        nothing (NumPy), at the end of the epoch where it would wait for the device.
    ShapeError
        Before the first step, for images that do not fit the model; at a step, for a loss that is not one number.

    Notes
    -----
    The mean loss is that of all samples together, each batch weighing `losses.Loss.count` of it. Of a loss with
    reduction "sum" it is the sum over the epoch, divided by the same count. With a transform that changes targets the
    batches weigh by their number of samples.
    """
    check_model(model, "train")
    if not isinstance(optimizer, Optimizer):
        raise DtypeError(
            f"train: expected an optimizer, got {optimizer!r:.60}; pass Adam(model.parameters()), say"
        )
    check_loss(criterion, "train", model)
    whole(epochs, "epochs", "train", 0, error=HyperparameterError)
    if schedule is not None:
        function(schedule, "schedule", "train", "pass schedules.cosine(0.1, steps), say")
    dataset = pair(dataset, "train")
    at = Position(rng) if position is None else position
    feed = batches(*dataset, batch_size, at.rng, transform)
    output_shape = layout.output_shape(model, feed, "train")
    check_targets(criterion, _targets_to_check(feed), output_shape, "train")
    changed = takes_targets(transform)  # then what the targets count is known only batch by batch

    def check(phase: str, loss: Any) -> None:
        if phase == "loss":
            _check_number(loss, criterion)
            if not active_backend().asynchronous:
                _check_finite([loss], optimizer.steps + 1, at.epoch, optimizer)

    while at.epoch <= epochs:
        model.train()
        order = at.shuffle(feed.size, len(feed))
        for images, targets in progress(feed.in_order(order[at.step * batch_size :])):
            if schedule is not None:
                optimizer.lr = _rate(schedule, optimizer.steps)
            times = multiplier(criterion, targets, output_shape, changed)  # counted on the host
            images, targets = _upload(images), _upload(targets)  # the only upload
            loss = step(model, criterion, optimizer, images, targets, check)
            at.advance(loss * times)  # stays on the device
        sums = to_host(at.losses)  # the only download
        _check_finite(sums, optimizer.steps - len(feed) + 1, at.epoch, optimizer)
        yield (
            at.epoch,
            float(sums.sum(dtype=np.float64)) / weight(criterion, feed.labels, output_shape, changed),
        )
        at.next_epoch()


def predict(
    model: Layer,
    images: Arrays,
    *,
    batch_size: int = 200,
    transform: Transformation | None = None,
    progress: Progress = iter,
) -> Any:
    """Return the model's output for every image, on the host, in evaluation mode: (N,C,H,W) -> (N,D).

    Several inputs are a tuple of arrays. Of several outputs it returns a tuple of arrays.
    Every layer is in the mode afterwards that it was in before.
    """
    check_model(model, "predict")
    check_images_only(transform, "predict")
    check_images(images, "predict")
    feed = batches(images, images, batch_size, transform=transform)
    with layout.explaining(model, feed, "predict"):
        return _outputs(model, feed, progress)


def evaluate(
    model: Layer,
    dataset: Dataset,
    metric: Metric = accuracy,
    *,
    batch_size: int = 200,
    transform: Transformation | None = None,
    progress: Progress = iter,
) -> Any:
    """Return how good the model is on a data set: the share of images that it classifies as labelled.

    Every layer is in evaluation mode, and in the mode afterwards that it was in before. The last, smaller batch counts
    too, and the result does not depend on `batch_size` but for rounding.

    Parameters
    ----------
    dataset : (images, targets)
        As `train` takes it.
    metric : function of (predictions, targets), or a loss
        A function is given all of both on the host, and what it returns is returned: `metrics.accuracy`, say, for
        classes (N,), rows (N,D) and maps (N,H,W). Of a loss the mean over the data set is returned, as in `train`.

    Raises
    ------
    DatasetError
        For an empty data set, or targets that do not fit: for accuracy, labels that are not one integer an image, or
        a pixel.
    """
    check_model(model, "evaluate")
    dataset = pair(dataset, "evaluate")
    check_images_only(transform, "evaluate")
    feed = batches(*dataset, batch_size, transform=transform)
    if hasattr(metric, "backward") or isinstance(metric, type):
        check_loss(metric, "evaluate")
        return _mean_loss(
            model, copy.copy(metric), feed, progress
        )  # the caller may yet call backward() on it
    function(metric, "metric", "evaluate", "pass metrics.accuracy, or a loss such as MeanSquaredError()")
    output_shape = layout.output_shape(model, feed, "evaluate")
    if metric is accuracy:
        _check_classes(feed.labels, output_shape)
    return metric(_outputs(model, feed, progress), feed.targets())


def _mean_loss(model: Layer, criterion: Any, feed: Batches, progress: Progress) -> float:
    output_shape = layout.output_shape(model, feed, "evaluate")
    check_targets(criterion, _targets_to_check(feed), output_shape, "evaluate")
    sums = 0.0
    with _evaluating(model):
        for images, targets in progress(feed):
            loss = criterion(model(_upload(images)), _upload(targets))
            _check_number(loss, criterion, "evaluate")
            sums += float(loss) * multiplier(criterion, targets, output_shape)
    return sums / weight(criterion, feed.labels, output_shape)


def _outputs(model: Layer, feed: Batches, progress: Progress) -> Any:
    """Return the model's outputs for all batches, on the host: an array, or a tuple of them."""
    with _evaluating(model):
        outputs = [_host(model(_upload(images))) for images, _ in progress(feed)]
    if isinstance(outputs[0], tuple):
        return tuple(np.concatenate(column) for column in zip(*outputs, strict=True))
    return np.concatenate(outputs)


@contextmanager
def _evaluating(model: Layer) -> Iterator[None]:
    """Inside the ``with`` block the model is in evaluation mode, and saves nothing for backward."""
    modes = [(layer, layer.training) for _, layer in model.named_layers()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for layer, training in modes:
            layer.training = training


def _targets_to_check(feed: Batches) -> Any:
    """Return the targets of a data set as batches give them; of images that are their own targets one is enough."""
    own = any(feed.labels is images for images in (feed.images, *parts(feed.images)))
    return feed.targets(slice(1 if own else None))


def _upload(value: Any) -> Any:
    """Return an array, or each of a tuple, on the device."""
    return tuple(to_device(part) for part in value) if isinstance(value, tuple) else to_device(value)


def _host(y: Any) -> Any:
    return tuple(map(to_host, y)) if isinstance(y, (list, tuple)) else to_host(y)


def check_model(model: object, who: str) -> None:
    """Raise DtypeError for anything but a layer."""
    if not isinstance(model, Layer):
        raise DtypeError(
            f"{who}: expected a model, got {model!r:.60}; pass models.simple(), say, or another Layer"
        )


def _check_classes(targets: Any, output_shape: Any) -> None:
    """Raise DatasetError unless accuracy can compare these targets with these outputs."""
    several = any(isinstance(length, tuple) for length in output_shape)
    if several or len(output_shape) == 0 or output_shape[0] < 2:
        raise DatasetError(
            f"evaluate: expected scores of at least two classes for accuracy, got outputs of {output_shape}; "
            "pass another metric, a function of (predictions, targets), or a loss such as MeanSquaredError()"
        )
    check_labels(targets, output_shape[0], "evaluate", shape=output_shape[1:])


def _check_number(loss: Any, criterion: Any, who: str = "train") -> None:
    if getattr(loss, "shape", ()) != ():
        raise ShapeError(
            f"{who}: expected the loss to be one number, got shape {loss.shape} from {criterion!r:.60}; "
            "return its mean"
        )


def _rate(schedule: Schedule, step: int) -> float:
    """Return the schedule's learning rate, or raise HyperparameterError for what is none."""
    fix = f"the schedule gave it for step {step}: correct the schedule"
    return number(schedule(step), "learning rate", "train", 0, fix=fix)


def _check_finite(losses: Array, first_step: int, epoch: int, optimizer: Optimizer) -> None:
    broken = np.flatnonzero(~np.isfinite(losses))
    if broken.size:
        raise DivergenceError(
            f"train: the loss became {losses[broken[0]]} at step {first_step + broken[0]} (epoch {epoch}), with "
            f"learning rate {optimizer.lr:g}; lower the learning rate, clip gradients with clip_norm=1.0, or look "
            "for images that are not finite"
        )
