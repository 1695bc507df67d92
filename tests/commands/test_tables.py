"""Tables that a terminal of 100 columns can show."""

import numpy as np
import pytest

from xpcnn.commands.tables import class_table, confusion_table
from xpcnn.data import class_names
from xpcnn.data.datasets import LOADERS


@pytest.mark.parametrize("dataset", LOADERS)
def test_confusions_of_every_data_set_fit_100_columns(dataset):
    names = class_names(dataset)
    counts = np.full((10, 10), 10_000)
    for table in (class_table(counts, names), confusion_table(counts, names)):
        assert max(map(len, table.splitlines())) <= 100
        assert all(name in table for name in names)
        assert table.isascii()


def test_a_confusion_stands_in_its_label_s_row_under_its_prediction_s_number():
    counts = np.zeros((10, 10), int)
    counts[6, 0] = 77  # shirts taken for T-shirts
    head, _, *rows = confusion_table(counts, class_names("fashion-mnist")).splitlines()
    assert rows[6].startswith("6 Shirt")
    assert rows[6].index("77") + 1 == head.index(" 0") + 1
    assert sum("77" in row for row in rows) == 1


def test_means_are_over_classes_not_images():
    table = class_table(np.array([[1, 0], [0, 999]]), ["rare", "common"])
    assert table.splitlines()[-1].split() == ["mean", "100.00%", "100.00%", "100.00%", "1,000"]
    table = class_table(np.array([[0, 1], [0, 999]]), ["rare", "common"])
    assert table.splitlines()[-1].split()[2] == "50.00%"
