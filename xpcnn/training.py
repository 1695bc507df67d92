"""Training as a loop you can read: a generator, so the caller prints, saves or stops between two epochs."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np

from xpcnn.backend import Array, active_backend, to_device, to_host
from xpcnn.checks import function, number, whole
from xpcnn.data.batches import Transformation, batches, check_host_array, check_labels
from xpcnn.errors import DatasetError, DivergenceError, DtypeError, HyperparameterError
from xpcnn.layers import Layer, no_grad
from xpcnn.losses import AuxiliaryCrossEntropy, SoftmaxCrossEntropy
from xpcnn.metrics import accuracy
from xpcnn.optimizers import Optimizer
from xpcnn.position import Position
from xpcnn.random import Seed
from xpcnn.schedules import Schedule

Images: TypeAlias = np.ndarray
Labels: TypeAlias = np.ndarray
Progress: TypeAlias = Callable[[Iterable[Any]], Iterable[Any]]


def train(
    model: Layer,
    criterion: SoftmaxCrossEntropy | AuxiliaryCrossEntropy,
    optimizer: Optimizer,
    dataset: tuple[Images, Labels],
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
    dataset : (images, labels)
        On the host: images uint8 (scaled to [0, 1] here) or floating, (N,C,H,W); labels integers (N,), or
        one-hot (N,D).
    rng : numpy Generator or seed
        Shuffles, and draws what `transform` draws.
    position : Position
        Where to begin, and with which generator; in place of `rng`. It is moved on after every step. From the end
        of an epoch, training goes on by yielding that epoch once more, without a step.
    schedule : function of the step, counted from 0, to the learning rate
        None keeps ``optimizer.lr``.
    transform : function of (float images, rng)
        Augmentation, `xpcnn.data.transforms`.
    progress : function that wraps the batches of an epoch, ``tqdm`` for instance
        When it is asked for the next batch, the step of the former one is complete.

    Raises
    ------
    CheckpointError
        For a position in the middle of an epoch of another data set or batch size.
    DatasetError
        Before the first step, for an empty data set, labels out of range, or probabilities below 0 or not finite.
    DtypeError, HyperparameterError
        Before the first step, for a model, optimizer, schedule or number of epochs that is none; at a step, for a
        schedule that gives a negative learning rate or one that is not finite.
    DivergenceError
        If the loss is not finite, naming the step: before that step's update where reading the loss costs
        nothing (NumPy), at the end of the epoch where it would wait for the device.
    """
    _check_layer(model, "train")
    if not isinstance(optimizer, Optimizer):
        raise DtypeError(
            f"train: expected an optimizer, got {optimizer!r:.60}; pass Adam(model.parameters()), say"
        )
    function(criterion, "criterion", "train", "pass SoftmaxCrossEntropy(), an object and not the class")
    whole(epochs, "epochs", "train", 0, error=HyperparameterError)
    if schedule is not None:
        function(schedule, "schedule", "train", "pass schedules.cosine(0.1, steps), say")
    _check_pair(dataset, "train")
    at = Position(rng) if position is None else position
    feed = batches(*dataset, batch_size, at.rng, transform)
    check_labels(dataset[1], model.output_shape(dataset[0].shape[1:])[-1], who="train")
    while at.epoch <= epochs:
        model.train()
        order = at.shuffle(len(dataset[0]), len(feed))
        for images, labels in progress(feed.in_order(order[at.step * batch_size :])):
            if schedule is not None:
                optimizer.lr = _rate(schedule, optimizer.steps)
            images, labels = to_device(images), to_device(labels)  # the only upload
            loss = criterion(model(images), labels)
            if not active_backend().asynchronous:
                _check_finite([loss], optimizer.steps + 1, at.epoch, optimizer)
            model.backward(criterion.backward(), need_dx=False)
            optimizer.step()
            at.advance(loss * len(labels))  # stays on the device
        total = to_host(at.losses)  # the only download
        _check_finite(total, optimizer.steps - len(feed) + 1, at.epoch, optimizer)
        yield at.epoch, float(total.sum(dtype=np.float64)) / len(dataset[0])
        at.next_epoch()


def predict(
    model: Layer,
    images: Images,
    *,
    batch_size: int = 200,
    transform: Transformation | None = None,
    progress: Progress = iter,
) -> np.ndarray:
    """Return the model's output for every image, on the host, in evaluation mode: (N,C,H,W) -> (N,D).

    Every layer is in the mode afterwards that it was in before.
    """
    _check_layer(model, "predict")
    check_host_array(images, "predict: expected images", axes=1)
    modes = [(layer, layer.training) for _, layer in model.named_layers()]
    feed = batches(images, np.zeros(len(images), np.int64), batch_size, transform=transform)
    model.eval()
    try:
        with no_grad():
            return np.concatenate([to_host(model(to_device(batch))) for batch, _ in progress(feed)])
    finally:
        for layer, training in modes:
            layer.training = training


def evaluate(
    model: Layer,
    dataset: tuple[Images, Labels],
    *,
    batch_size: int = 200,
    transform: Transformation | None = None,
    progress: Progress = iter,
) -> float:
    """Return the share of all images, the last, smaller batch included, that the model classifies as labelled.

    Raises
    ------
    DatasetError
        For an empty data set, or labels that are not one integer an image.
    """
    _check_layer(model, "evaluate")
    _check_pair(dataset, "evaluate")
    images, labels = dataset
    check_labels(labels, model.output_shape(images.shape[1:])[-1], who="evaluate")
    return accuracy(
        predict(model, images, batch_size=batch_size, transform=transform, progress=progress),
        np.asarray(labels),
    )


def _check_layer(model: object, who: str) -> None:
    if not isinstance(model, Layer):
        raise DtypeError(
            f"{who}: expected a model, got {model!r:.60}; pass models.simple(), say, or another Layer"
        )


def _check_pair(dataset: object, who: str) -> None:
    if not isinstance(dataset, (tuple, list)) or len(dataset) != 2:
        raise DatasetError(
            f"{who}: expected (images, labels), got {type(dataset).__name__}; pass both as a tuple"
        )
    check_host_array(dataset[0], f"{who}: expected images", axes=1)


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
