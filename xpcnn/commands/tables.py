"""How well a network classifies, as text: a row for every class, and the confusion matrix."""

from collections.abc import Sequence

import numpy as np

from xpcnn._table import text_table
from xpcnn.training.metrics import per_class


def class_table(confusion: np.ndarray, names: Sequence[str]) -> str:
    """Return precision, recall, F1 and support of every class, and their plain means over the classes.

    >>> print(class_table(np.array([[3, 1], [0, 4]]), ["cat", "dog"]))
    class  precision   recall      F1  support
    ------------------------------------------
    0 cat    100.00%   75.00%  85.71%        4
    1 dog     80.00%  100.00%  88.89%        4
    mean      90.00%   87.50%  87.30%        8
    """
    metrics = per_class(confusion)
    means = np.mean([row[:3] for row in metrics], axis=0)
    rows = [*metrics, (*means, sum(row.support for row in metrics))]
    shares = [(*(f"{share:.2%}" for share in row[:3]), f"{row[3]:,}") for row in rows]
    heads = ("class", *numbered(names), "mean")
    return text_table(
        [(h, *row) for h, row in zip(heads, [("precision", "recall", "F1", "support"), *shares], strict=True)]
    )


def confusion_table(confusion: np.ndarray, names: Sequence[str]) -> str:
    r"""Return the counts by label (row) and predicted class (column, named by its number); a dot for none.

    >>> print(confusion_table(np.array([[3, 1], [0, 4]]), ["cat", "dog"]))
    label \ predicted  0  1
    -----------------------
    0 cat              3  1
    1 dog              .  4
    """
    head = ("label \\ predicted", *map(str, range(len(names))))
    rows = [[str(count) if count else "." for count in row] for row in confusion]
    return text_table([head, *((name, *row) for name, row in zip(numbered(names), rows, strict=True))])


def numbered(names: Sequence[str]) -> list[str]:
    """Put before each class its number, unless the number is its name.

    >>> numbered(["cat", "dog"]), numbered(["0", "1"])
    (['0 cat', '1 dog'], ['0', '1'])
    """
    return [name if name == str(number) else f"{number} {name}" for number, name in enumerate(names)]
