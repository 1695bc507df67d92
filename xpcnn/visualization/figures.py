"""From an empty figure to a file: matplotlib without pyplot, so nothing needs a display or stays open."""

from __future__ import annotations

import functools
import io
from os import PathLike
from typing import TYPE_CHECKING

from xpcnn._disk.files import keep_former, replacing
from xpcnn.errors import ExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def require_matplotlib() -> None:
    """Raise ExtraError, with the command that installs it, unless matplotlib can be imported."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ExtraError(f'drawing needs matplotlib ({error}); run: pip install "xpcnn[viz]"') from error


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure of so many inches.

    Raises
    ------
    ExtraError
        Where matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    figure._repr_png_ = functools.partial(_png, figure)  # type: ignore[attr-defined]  # a notebook shows it
    return figure


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def save_png(figure: Figure, path: str | PathLike[str], dots_per_inch: int = 150) -> None:
    """Write a PNG, and keep a previous file under a numbered name. Equal figures make equal bytes."""
    keep_former(path)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=dots_per_inch, metadata={"Software": None})
