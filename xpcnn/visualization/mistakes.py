"""The images that a network gets wrong, the most confident mistake first: often the label is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xpcnn.visualization.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS, MAX_ROWS = 10, 6
INK, GREY, PALE, RED = "#222222", "#888888", "#e4e4e4", "#c8402f"


class Mistake(NamedTuple):
    """An image's index in the data set, its label, the predicted class, and the probability of the prediction."""

    place: int
    label: int
    predicted: int
    confidence: float


def find_mistakes(logits: np.ndarray, labels: np.ndarray) -> list[Mistake]:
    """Return where the largest logit is not that of the label, the largest softmax probability first: (N,D), (N,).

    >>> find_mistakes(np.array([[0.0, 0.0], [2.0, 0.0], [9.0, 0.0]]), np.array([0, 1, 1]))[0][:3]
    (2, 1, 0)
    """
    predicted = logits.argmax(axis=1)
    above = logits.max(axis=1, keepdims=True).astype(np.float64) - logits
    confidence = 1 / np.exp(-above).sum(axis=1)  # softmax of the largest
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
    return [Mistake(int(i), int(labels[i]), int(predicted[i]), float(confidence[i])) for i in wrong]


def draw_mistakes(
    images: np.ndarray,
    mistakes: Sequence[Mistake],
    names: Sequence[str],
    dataset: str,
    limit: int = COLUMNS * MAX_ROWS,
) -> Figure:
    """Draw the first `limit` mistakes in a grid, under their number.

    Parameters
    ----------
    images : uint8 array (N,C,H,W)
        All images that were tested, of one channel (drawn as ink on paper) or three (red, green, blue).
    mistakes : from `find_mistakes`
    names : of the classes
    dataset : str
        Its name, for the heading.

    Raises
    ------
    ExtraError
        Where matplotlib is not installed.
    """
    shown = mistakes[:limit]
    rows = max(math.ceil(len(shown) / COLUMNS), 1)
    width, height, margin = 1.2 * COLUMNS + 0.4, 1.75 * rows + 1.1, 0.22  # inches
    figure = new_figure(width, height)
    for text, top, style in (
        (_heading(len(mistakes), len(images), dataset), 0.38, {"fontsize": 15, "fontweight": "bold"}),
        (_explanation(len(shown), len(mistakes)), 0.66, {"fontsize": 10.5}),
    ):
        figure.text(margin / width, 1 - top / height, text, color=INK, **style)
    edges = {
        "left": margin / width,
        "right": 1 - margin / width,
        "top": 1 - 0.85 / height,
        "bottom": 0.65 / height,
    }
    grid = figure.add_gridspec(rows, COLUMNS, wspace=0.18, hspace=0.6, **edges)
    for cell, mistake in enumerate(shown):
        _draw_cell(figure.add_subplot(grid[divmod(cell, COLUMNS)]), images[mistake.place], mistake, names)
    return figure


def _draw_cell(axes: Axes, image: np.ndarray, mistake: Mistake, names: Sequence[str]) -> None:
    if len(image) == 1:
        axes.imshow(image[0], cmap="gray_r", vmin=0, vmax=255)
    else:
        axes.imshow(image.transpose(1, 2, 0))  # (H, W, 3)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(PALE)
    below: dict[str, Any] = {"transform": axes.transAxes, "va": "top", "color": INK}
    for width, colour in ((1.0, PALE), (mistake.confidence, RED)):
        axes.add_patch(_bar(axes, width, colour))
    label, predicted = names[mistake.label], names[mistake.predicted]
    if short := max(map(len, names)) < 3:
        axes.text(0, -0.11, f"{label} → {predicted}", fontsize=11, fontweight="bold", **below)
    else:
        axes.text(0, -0.11, f"{label}\n→ {predicted}", fontsize=8, fontweight="bold", **below)
    row = -0.30 if short else -0.42
    axes.text(0, row, f"{mistake.confidence:.1%}", fontsize=8, **below)
    axes.text(1, row, f"#{mistake.place}", fontsize=7, ha="right", **{**below, "color": GREY})


def _bar(axes: Axes, width: float, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((0, -0.08), width, 0.045, transform=axes.transAxes, color=colour, lw=0, clip_on=False)


def _heading(wrong: int, total: int, dataset: str) -> str:
    return (
        f"{wrong:,} of {total:,} test images of {dataset} are taken for another class ({wrong / total:.2%})"
    )


def _explanation(shown: int, wrong: int) -> str:
    if not wrong:
        return "There is nothing to show."
    which = "All of them" if shown == wrong else f"The {shown} surest of them"
    return (
        f"{which}, the surest first: label → prediction; the bar is the probability given to the prediction"
    )
