"""A sweep as a picture: how the time grows, beside growth in proportion; and how fast that is."""

from typing import TYPE_CHECKING

import numpy as np

from xpcnn.benchmark.sweep import Kind, Sweep
from xpcnn.visualization import new_figure
from xpcnn.visualization.mistakes import GREY, INK, PALE, RED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXES: dict[Kind, tuple[str, str, str, str, str]] = {
    "batch": ("batch_size", "images a step", "step_ms", "milliseconds a step", "the batch and the time of a step"),
    "width": ("width", "width (1 is the network as it is)", "step_ms", "milliseconds a step",
              "the width and the time of a step"),
    "threads": ("threads", "threads", "images_per_second", "images a second", "threads and the speed of training"),
}  # fmt: skip
"""The columns and captions of the left panel, and the title; the right panel has GFLOP/s over the same values."""


def draw_sweep(found: Sweep) -> "Figure":
    """Draw both panels, logarithmic both ways.

    Left, a dashed line of slope 1: twice the images, channels or threads, twice the height. It goes through the
    last point of a time, and the first of a speed. Right, a dashed line for the machine's matrix product.

    Raises
    ------
    ExtraError
        If matplotlib is not installed.
    """
    column, below, height, above, what = AXES[found.kind]
    x, y, gflops, low, high = (
        np.array([row[name] for row in found.rows], float)
        for name in (column, height, "gflops", "p10_ms", "p90_ms")
    )
    first, anchor = found.rows[0], 0 if found.kind == "threads" else -1
    figure = new_figure(10.5, 4.7)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.075, right=0.975, top=0.80, bottom=0.13, wspace=0.22)
    figure.text(0.02, 0.93, f"{first['model']}: {what}", fontsize=15, fontweight="bold", color=INK)
    known = [first["optimizer"], first["backend"]]
    known += [f"{first['batch_size']} images a step"] if found.kind != "batch" else []
    known += [f"{first['threads']} thread{'s' * (first['threads'] != 1)}"] if found.kind != "threads" else []
    figure.text(0.02, 0.875, f"{', '.join(known)}; {found.result['machine']['cpu']}", fontsize=10, color=GREY)

    left.plot(x, y[anchor] * x / x[anchor], "--", color=GREY, label="in proportion")
    left.plot(x, y, "-o", color=RED, lw=2)
    if height == "step_ms":
        left.fill_between(x, low, high, color=RED, alpha=0.15, lw=0)
    peak = float(first["peak_gflops"])
    right.axhline(peak, color=GREY, ls="--", label=f"a matrix product here: {peak:.0f}")
    right.plot(x, gflops, "-o", color=RED, lw=2)
    for axes, label in ((left, above), (right, "GFLOP/s")):
        axes.set(xscale="log", yscale="log", xlabel=below)
        axes.set_xticks(x, [f"{value:,.4g}" for value in x], minor=False)
        axes.minorticks_off()
        axes.set_title(label, loc="left", fontsize=11, color=INK)
        axes.grid(color=PALE)
        axes.legend(frameon=False, labelcolor=GREY)
    return figure
