"""Text tables: ASCII, with columns that line up."""

import textwrap
from collections.abc import Sequence
from itertools import zip_longest

GAP = "  "


def text_table(
    rows: Sequence[Sequence[str]],
    align: str = "<>",
    *,
    total: bool = False,
    width: int = 0,
    least: Sequence[int] = (),
) -> str:
    """Lay out rows under the first one, their head.

    Parameters
    ----------
    align : one "<" (left) or ">" (right) for each column
        The last one holds for all further columns.
    total : bool
        The last row is a total, with a rule above it.
    width : int
        Wrap the last column so that no line is longer; each of its paragraphs begins a new line. 0 wraps nothing.
    least : the least widths of the first columns, so that several tables line up

    >>> print(text_table([("phase", "ms"), ("forward", "3.25"), ("backward", "11.02")]))
    phase        ms
    ---------------
    forward    3.25
    backward  11.02
    """
    columns = [max(map(len, column)) for column in zip(*rows, strict=True)]
    columns = [max(pair) for pair in zip_longest(columns, least[: len(columns)], fillvalue=0)]
    sides = align.ljust(len(columns), align[-1])
    last = width - sum(columns[:-1]) - len(GAP) * (len(columns) - 1)
    blocks = []
    for row in rows:
        ends = wrapped(row[-1], last) or [""] if width else [row[-1]]
        cells = [[*row[:-1], ends[0]], *([""] * (len(row) - 1) + [end] for end in ends[1:])]
        blocks.append("\n".join(
            GAP.join(f"{cell:{side}{room}}" for cell, side, room in zip(line, sides, columns, strict=True)).rstrip()
            for line in cells
        ))  # fmt: skip
    rule = "-" * (width or max(map(len, blocks)))
    blocks.insert(1, rule)
    if total:
        blocks.insert(-1, rule)
    return "\n".join(blocks)


def wrapped(text: str, width: int) -> list[str]:
    r"""Return the lines of a text of several paragraphs, none longer than `width` unless a word is.

    >>> wrapped("one two three\nfour", 8)
    ['one two', 'three', 'four']
    """
    wrap = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False).wrap
    return [line for paragraph in text.splitlines() for line in wrap(paragraph)]
