"""Training in one call, written on top of the loop `train`: read this, and write your own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from xpcnn.backend import to_host
from xpcnn.data import BatchLoader, Dataset, layout, split
from xpcnn.data.splits import pair
from xpcnn.data.transformation import Transformation, takes_targets
from xpcnn.errors.checks import is_number
from xpcnn.layers import Layer
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.losses.base import multiplier
from xpcnn.optimizers import Adam, Optimizer
from xpcnn.random import Seed
from xpcnn.schedules import Schedule
from xpcnn.training.bar import bar, write
from xpcnn.training.callbacks import Callback, as_list
from xpcnn.training.history import History
from xpcnn.training.loop import Metric, check_model, evaluate, train
from xpcnn.training.metrics import accuracy_of
from xpcnn.training.state import Position


def fit(
    model: Layer,
    dataset: Any,
    *,
    epochs: int = 10,
    batch_size: int = 100,
    criterion: Any = None,
    optimizer: Optimizer | None = None,
    validation: Any = None,
    metric: Metric | None = None,
    patience: int | None = None,
    callbacks: Callback | Iterable[Callback] = (),
    schedule: Schedule | None = None,
    transform: Transformation | None = None,
    rng: Seed = None,
    progress: bool = True,
) -> History:
    """Train a model, validate it after each epoch, and return the `History`. Ctrl-C returns the history so far.

    Parameters
    ----------
    dataset : (images, targets), or a Dataset, whose training images are taken
    criterion, optimizer : SoftmaxCrossEntropy() and Adam(model.parameters()) if left out
    validation : (images, targets), or a share or a number of the images to hold back, class by class: 0.1, say
    metric : function of (predictions, targets); if left out, the accuracy with SoftmaxCrossEntropy
    patience : int
        Stop after so many epochs that are no better than the best, and end with its weights: `EarlyStopping`.
    callbacks : function of (model, history), or several
        Called after each epoch; ``history.stop(reason)`` ends the training.
    progress : bool
        Whether to show a progress bar, and a line for each epoch.
    batch_size, schedule, transform, rng : as in `train`, whose errors are raised
    """
    check_model(model, "fit")
    dataset = dataset.train if isinstance(dataset, Dataset) else dataset
    if is_number(validation):
        dataset, validation = split(dataset, validation)
    elif validation is not None:
        validation = pair(validation, "evaluate")
    criterion = SoftmaxCrossEntropy() if criterion is None else criterion
    optimizer = Adam(model.parameters()) if optimizer is None else optimizer
    metric = accuracy_of(criterion) if metric is None else metric
    scores = {"loss": criterion} | ({getattr(metric, "__name__", "metric"): metric} if metric else {})
    calls = as_list(callbacks, patience)
    history, position = History(epochs), Position(rng)

    def steps(feed: Any) -> Iterator[Any]:
        shape, counts = layout.output_shape(model, feed, "fit"), []
        try:
            for batch in bar(BatchLoader(feed), f"epoch {position.epoch}/{epochs}", progress):
                counts.append(multiplier(criterion, batch[1], shape, takes_targets(transform)) or 1)
                yield batch  # train makes a step of it
        finally:  # the epoch has ended, or was interrupted
            sums = to_host(position.losses[: position.step])
            history.losses += [float(loss) / count for loss, count in zip(sums, counts, strict=False)]

    try:
        for epoch, loss in train(
            model, criterion, optimizer, dataset, epochs=epochs, batch_size=batch_size, position=position,
            schedule=schedule, transform=transform, progress=steps,
        ):  # fmt: skip
            row = history.add(epoch, loss)
            for name, score in scores.items() if validation is not None else ():
                row[f"validation_{name}"] = evaluate(model, validation, score, batch_size=batch_size)
            row["learning_rate"], row["seconds"] = optimizer.lr, history.seconds
            write(history.line(row), progress)
            for call in calls:
                call(model, history)
            if history.stopped:
                break
    except KeyboardInterrupt:
        history.stop("Ctrl-C")
    return history
