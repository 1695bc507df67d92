"""A sweep's picture: its lines are the rows."""

import numpy as np
import pytest

from xpcnn.benchmark.picture import draw_sweep
from xpcnn.benchmark.sweep import COLUMNS, KINDS, Sweep
from xpcnn.visualization import save_png

pytest.importorskip("matplotlib")
COLUMN = {"batch": "batch_size", "width": "width", "threads": "threads"}


def made(kind):
    rows = []
    for value in (1, 2, 8):
        row = dict.fromkeys(COLUMNS, 1.0) | {"model": "simple", "optimizer": "sgd", "backend": "numpy"}
        row |= {"batch_size": 100, "threads": 2, "peak_gflops": 50.0, "gflops": 4.0 * value}
        row |= {"step_ms": 5.0 + value, "p10_ms": 4.5 + value, "p90_ms": 6.0 + value}
        row |= {"images_per_second": 100.0 * value, COLUMN[kind]: value}
        rows.append(row)
    return Sweep(kind, rows, {"machine": {"cpu": "a processor"}})


@pytest.mark.parametrize("kind", KINDS)
def test_lines_are_the_rows_and_the_dashed_one_has_slope_1(kind, tmp_path):
    figure = draw_sweep(made(kind))
    left, right = figure.axes
    dashed, curve = left.lines
    expected = [100, 200, 800] if kind == "threads" else [6, 7, 13]
    assert curve.get_ydata().tolist() == expected
    slope = np.diff(np.log(dashed.get_ydata())) / np.diff(np.log(dashed.get_xdata()))
    assert slope == pytest.approx([1, 1])
    meets = 0 if kind == "threads" else -1
    assert dashed.get_ydata()[meets] == expected[meets]
    peak, speed = right.lines
    assert set(peak.get_ydata()) == {50}
    assert speed.get_ydata().tolist() == [4, 8, 32]
    assert (left.get_xscale(), left.get_yscale(), right.get_yscale()) == ("log",) * 3
    save_png(figure, tmp_path / "picture.png", 50)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_it_says_what_is_the_same_at_every_point():
    words = [text.get_text() for text in draw_sweep(made("width")).texts]
    assert words[0].startswith("simple: the width")
    assert words[1] == "sgd, numpy, 100 images a step, 2 threads; a processor"
