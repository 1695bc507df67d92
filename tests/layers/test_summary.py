"""The summary's numbers, by hand."""

import copy
import io
import pickle
from xml.etree import ElementTree

import pytest

from xpcnn import models
from xpcnn.errors import ShapeError
from xpcnn.layers import BatchNorm, Conv, Pooling, ReLU, Residual, Sequential
from xpcnn.models import deep, simple


def test_simple():
    summary = simple().summary((1, 28, 28))
    assert summary.parameters == 433_890
    rows = {row.name: row for row in summary.rows}
    assert {name: row.output_shape for name, row in rows.items()} == {
        "0": (30, 24, 24),
        "1": (30, 24, 24),
        "2": (30, 12, 12),
        "3": (4320,),
        "4": (100,),
        "5": (100,),
        "6": (10,),
    }
    assert [row.parameters for row in summary.rows] == [30 * 25 + 30, 0, 0, 0, 4320 * 100 + 100, 0, 1010]
    assert rows["0"].multiply_adds == 30 * 24 * 24 * 25
    assert (rows["4"].multiply_adds, rows["6"].multiply_adds) == (432_000, 1000)
    assert summary.multiply_adds == 432_000 + 432_000 + 1000


def test_deep():
    assert deep().summary((1, 28, 28)).parameters == 123_552


def test_the_table():
    assert Sequential(Conv(1, 2, 3, 2, rng=0), BatchNorm(2), Pooling(2)).summary((1, 9, 9)) == TABLE


TABLE = """\
   layer                    output shape  parameters  multiply-adds
-------------------------------------------------------------------
   input                       1 x 9 x 9
0  Conv(1, 2, 3, stride=2)     2 x 4 x 4          20            288
1  BatchNorm(2)                2 x 4 x 4           4              -
2  Pooling(2)                  2 x 2 x 2           -              -
-------------------------------------------------------------------
   total                       2 x 2 x 2          24            288"""


def test_depth_opens_containers_so_far_and_no_further():
    model = models.resnet18(width=1 / 16)
    whole, stages = model.summary((3, 64, 64)), model.summary((3, 64, 64), depth=1)
    assert [row.name for row in stages.rows][4:] == ["layer1", "layer2", "layer3", "layer4", "avgpool", "fc"]
    assert stages.rows[5].layer.startswith("Sequential of ")
    assert stages.rows[5].output_shape == (8, 8, 8)
    assert (stages.parameters, stages.multiply_adds) == (whole.parameters, whole.multiply_adds)
    assert sum(row.parameters for row in stages.rows) == stages.parameters
    assert "layer2.0.residual.body.conv1" in {row.name for row in whole.rows}


def test_it_is_a_string():
    summary = Pooling(2).summary((1, 4, 4))
    assert repr(summary) == str(summary) == summary
    assert f"{summary}".count("\n") == 5


def test_the_error_for_an_invalid_input_names_the_layer():
    with pytest.raises(ShapeError, match=r"Conv\(1, 30, 5\): expected 1 channels, got 3 in \(3, 28, 28\)"):
        simple().summary((3, 28, 28))


def test_in_a_notebook_it_is_a_table_of_the_same_cells():
    model = Sequential(Conv(1, 2, 3, 2, rng=0), BatchNorm(2), Pooling(2))
    root = ElementTree.fromstring(model.summary((1, 9, 9))._repr_html_())
    cells = [[cell.text or "" for cell in row] for row in root.iter("tr")]
    assert len(cells) == 6
    assert " ".join(" ".join(row) for row in cells).split() == [
        word for word in TABLE.split() if word.strip("-") or word == "-"
    ]
    assert [cell.get("style") for cell in root.find("tbody/tr")] == [
        *["text-align: left"] * 2,
        *["text-align: right"] * 3,
    ]


def test_names_are_escaped_in_html():
    class Odd(Conv):
        def __repr__(self):
            return "<b>&"

    html = Sequential(Odd(1, 2, 3, rng=0)).summary((1, 9, 9))._repr_html_()
    assert "&lt;b&gt;&amp;" in html
    assert "<b>" not in html


def test_a_summary_is_copied_and_pickled_with_its_numbers():
    summary = Pooling(2).summary((1, 4, 4))
    for again in (copy.deepcopy(summary), pickle.loads(pickle.dumps(summary))):
        assert again == summary
        assert (again.rows, again._repr_html_()) == (summary.rows, summary._repr_html_())


def test_printing_a_model_shows_the_tree():
    model = Sequential(Conv(1, 2, 3, rng=0), block=Residual(Sequential(ReLU()), Conv(2, 2, 1, rng=0)))
    shown = io.StringIO()
    print(model, file=shown)
    assert shown.getvalue() == (
        "Sequential(\n    Conv(1, 2, 3),\n    block=Residual(\n        body=Sequential(\n            ReLU(),\n"
        "        ),\n        shortcut=Conv(2, 2, 1),\n    ),\n)\n"
    )
