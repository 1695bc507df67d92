"""What a training has given: every step's loss and every epoch's numbers, as text, as HTML and as a picture."""

import html
import time
from os import PathLike
from typing import TYPE_CHECKING, Any

from xpcnn.visualization.figures import new_figure, save_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PALE = "#1f6fb4", "#d9772b", "#3a8f4d", "#b9d0e4"


class History:
    """What `fit` returns.

    ``history["loss"]`` is the list of an epoch's number for all epochs; a notebook shows the table.

    Parameters
    ----------
    planned : int
        Epochs that were asked for.

    Attributes
    ----------
    losses : list of float
        Every step's loss, those of an unfinished epoch included.
    epochs : list of dict
        Of each finished epoch: "epoch", "loss" (the mean over its samples), what was validated ("validation_loss",
        "validation_accuracy"), "learning_rate", and "steps" and "seconds" since the beginning.
    stopped : str
        Why the training ended before the last epoch; empty if it did not.
    """

    def __init__(self, planned: int) -> None:
        self.planned, self.stopped, self._began = planned, "", time.perf_counter()
        self.losses: list[float] = []
        self.epochs: list[dict[str, Any]] = []

    def add(self, epoch: int, loss: float) -> dict[str, Any]:
        """Add an epoch, and return its numbers, to which more may be added."""
        self.epochs.append({"epoch": epoch, "steps": len(self.losses), "loss": loss})
        return self.epochs[-1]

    def stop(self, reason: str) -> None:
        """End the training after this epoch."""
        self.stopped = reason

    @property
    def seconds(self) -> float:
        """Seconds since the beginning of the training."""
        return time.perf_counter() - self._began

    @property
    def best(self) -> dict[str, Any]:
        """The numbers of the epoch with the lowest loss: the validation's, if there is one."""
        return min(self.epochs, key=lambda row: row.get("validation_loss", row["loss"]))

    def __getitem__(self, name: str) -> list[Any]:
        return [row[name] for row in self.epochs]

    def __len__(self) -> int:
        return len(self.epochs)

    def line(self, row: dict[str, Any]) -> str:
        """Return an epoch's numbers as one line."""
        return "  ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in row.items())

    def plot(self, file: str | PathLike[str] | None = None) -> "Figure":
        """Draw the loss of every step and every epoch, and below it what else was validated.

        A notebook shows the figure; `file` is a PNG to write.

        Raises
        ------
        ExtraError
            Where matplotlib is not installed.
        """
        scores = [
            name for name in self._columns() if name.startswith("validation_") and name != "validation_loss"
        ]
        figure = new_figure(7, 3 + 2.2 * len(scores))
        first, *others = figure.subplots(1 + len(scores), 1, sharex=True, squeeze=False)[:, 0]
        steps = self.epochs[0]["steps"] if self.epochs else len(self.losses) or 1
        places = [(number + 1) / steps for number in range(len(self.losses))]
        first.plot(places, self.losses, color=PALE, lw=0.8, label="each step")
        first.plot(self["epoch"], self["loss"], color=BLUE, marker="o", ms=3, label="training")
        if "validation_loss" in self._columns():
            first.plot(
                self["epoch"], self["validation_loss"], color=ORANGE, marker="o", ms=3, label="validation"
            )
        first.set_ylabel("loss")
        first.legend(frameon=False)
        for axes, name in zip(others, scores, strict=True):
            axes.plot(self["epoch"], self[name], color=GREEN, marker="o", ms=3)
            axes.set_ylabel(name.removeprefix("validation_").replace("_", " "))
        [*_, last] = [first, *others]
        last.set_xlabel("epoch")
        for axes in (first, *others):
            axes.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        if file is not None:
            save_png(figure, file)
        return figure

    def __repr__(self) -> str:
        lines = [self.line(row) for row in self.epochs]
        return "\n".join([f"History of {self._title()}", *lines])

    def _repr_html_(self) -> str:
        columns = self._columns()
        best = self.best if self.epochs else None
        head = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in columns)
        body = "".join(
            f"<tr{' style=' + chr(34) + 'font-weight:bold' + chr(34) if row is best else ''}>"
            + "".join(f"<td>{html.escape(_shown(row.get(name, '')))}</td>" for name in columns)
            + "</tr>"
            for row in self.epochs
        )
        return f"<table><caption>{html.escape(self._title())}</caption><tr>{head}</tr>{body}</table>"

    def _title(self) -> str:
        ended = f", stopped: {self.stopped}" if self.stopped else ""
        return f"{len(self)} of {self.planned} epochs, {len(self.losses):,} steps{ended}"

    def _columns(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.epochs for name in row))


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
