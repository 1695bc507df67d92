"""A sweep as a picture: how the time grows, beside how it would grow in proportion; and how fast that is."""

from typing import TYPE_CHECKING, Any

import numpy as np

from xpcnn.benchmark.sweep import Kind, Sweep
from xpcnn.visualization import new_figure
from xpcnn.visualization.mistakes import GREY, INK, PALE, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES: dict[Kind, tuple[str, str, str, str]] = {
    "batch": ("batch_size", "images a step", "step_ms", "milliseconds a step"),
    "width": ("width", "width (1 is the network as it is)", "step_ms", "milliseconds a step"),
    "threads": ("threads", "threads", "images_per_second", "images a second"),
}
"""The columns and captions of the left panel; the right one has GFLOP/s over the same values."""


def draw_sweep(found: Sweep) -> "Figure":
    """Draw both panels, logarithmic both ways.

    Left a dashed line of slope 1: twice the images, or channels, or threads, twice the height. It goes through the
    last point of a time, and the first of a speed. Right the machine's matrix product.

    Raises
    ------
    ExtraError
        Where matplotlib is not installed.
    """
    column, across, height, up = AXES[found.kind]
    x = np.array([row[column] for row in found.rows], float)
    y = np.array([row[height] for row in found.rows], float)
    gflops = np.array([row["gflops"] for row in found.rows], float)
    peak, first = float(found.rows[0]["peak_gflops"]), found.rows[0]
    figure = new_figure(10.5, 4.7)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.075, right=0.975, top=0.80, bottom=0.13, wspace=0.22)
    what = {
        "batch": f"{first['model']}: the batch and the time of a training step",
        "width": f"{first['model']}: the width and the time of a training step",
        "threads": f"{first['model']}: threads and the speed of training",
    }[found.kind]
    figure.text(0.02, 0.93, what, fontsize=15, fontweight="bold", color=INK)
    figure.text(0.02, 0.875, _below(found), fontsize=10, color=GREY)

    anchor = 0 if found.kind == "threads" else -1
    left.plot(x, y[anchor] * x / x[anchor], "--", color=GREY, lw=1.2, zorder=1)
    _curve(left, x, y)
    if height == "step_ms":
        low, high = (np.array([row[name] for row in found.rows], float) for name in ("p10_ms", "p90_ms"))
        left.fill_between(x, low, high, color=RED, alpha=0.15, lw=0)
    _name_line(left, x, y, y[anchor] * x / x[anchor])
    right.axhline(peak, color=GREY, lw=1.2, ls="--", zorder=1)
    right.text(
        x[0], peak * 0.93, f"a matrix product here: {peak:.0f}", color=GREY, fontsize=9, va="top", ha="left"
    )
    _curve(right, x, gflops)
    for axes, label in ((left, up), (right, "GFLOP/s")):
        _dress(axes, x, across, label)
    for axes in (left, right):
        low, high = axes.get_ylim()
        axes.set_ylim(low / 1.15, high * 1.15)
    return figure


def _below(found: Sweep) -> str:
    row = found.rows[0]
    known = [row["optimizer"], row["backend"]]
    if found.kind != "batch":
        known.append(f"{row['batch_size']} images a step")
    if found.kind != "threads":
        known.append(f"{row['threads']} thread{'s' * (row['threads'] != 1)}")
    return ", ".join(known) + f"; {found.result['machine']['cpu']}"


def _curve(axes: "Axes", x: np.ndarray, y: np.ndarray) -> None:
    axes.plot(x, y, "-o", color=RED, lw=2, ms=5, zorder=3)


def _name_line(axes: "Axes", x: np.ndarray, y: np.ndarray, line: np.ndarray) -> None:
    """Write beside the dashed line what it is, on the side where the curve is not."""
    middle = len(x) // 2
    above = line[middle] > y[middle]
    axes.annotate(
        "in proportion", (x[middle], line[middle]), xytext=(-8, 4) if above else (8, -4), color=GREY, fontsize=9,
        textcoords="offset points", ha="right" if above else "left", va="bottom" if above else "top",
    )  # fmt: skip


def _dress(axes: "Axes", x: np.ndarray, across: str, up: str) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    plain: Any = FuncFormatter(lambda value, place: f"{value:,.4g}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(x.tolist()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(plain)
    axes.set_xlabel(across, color=INK)
    axes.set_title(up, loc="left", fontsize=11, color=INK)
    axes.grid(color=PALE, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)
