"""Learning curves: the loss and the accuracy of each epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xpcnn.errors import DatasetError
from xpcnn.visualization.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_curves(lines: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Draw the lines of a file of metrics: the training loss on the left, the accuracies on the right.

    Raises
    ------
    DatasetError
        If there is no line.
    ExtraError
        If matplotlib is not installed.
    """
    if not lines:
        raise DatasetError("draw_curves: expected at least one epoch, got none; train first")
    figure = new_figure(9, 3.6)
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.08, right=0.97, top=0.85, bottom=0.15, wspace=0.25)
    epochs = [line["epoch"] for line in lines]
    left.plot(epochs, [line["train_loss"] for line in lines], "-o", markersize=3)
    for name in ("validation_accuracy", "test_accuracy"):
        if all(name in line for line in lines):
            right.plot(
                epochs, [line[name] for line in lines], "-o", markersize=3, label=name.partition("_")[0]
            )
    right.legend()
    for axes, label in ((left, "training loss"), (right, "accuracy")):
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    return figure
