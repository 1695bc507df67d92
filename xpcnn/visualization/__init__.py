"""Pictures, with matplotlib from the extra [viz]; it is imported when something is drawn, and needs no display."""

from xpcnn.visualization.curves import draw_curves
from xpcnn.visualization.figures import new_figure, require_matplotlib, save_png
from xpcnn.visualization.mistakes import Mistake, draw_mistakes, find_mistakes

__all__ = [
    "Mistake",
    "draw_curves",
    "draw_mistakes",
    "find_mistakes",
    "new_figure",
    "require_matplotlib",
    "save_png",
]


def __dir__() -> list[str]:
    return __all__
