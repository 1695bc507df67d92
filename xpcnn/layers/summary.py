"""The table that `model.summary(...)` returns: text, and HTML in a notebook."""

from html import escape
from typing import TYPE_CHECKING, NamedTuple, Self

from xpcnn._table import text_table

if TYPE_CHECKING:
    from xpcnn.layers.base import Layer

HEADINGS = ("", "layer", "output shape", "parameters", "multiply-adds")


class Row(NamedTuple):
    """One layer of a summary; shapes are of one sample, without the batch axis."""

    name: str
    layer: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


class Summary(str):
    """A string that is the table, with the same numbers as attributes.

    Attributes
    ----------
    rows : list of Row
    parameters, multiply_adds : int
        Totals.
    """

    rows: list[Row]
    parameters: int
    multiply_adds: int
    _cells: list[tuple[str, ...]]

    @classmethod
    def of(cls, model: "Layer", input_shape: tuple[int, ...], depth: int | None = None) -> Self:
        """Measure every layer of a model for one sample of `input_shape`; containers below `depth` are one row."""
        layers = dict(model.named_layers())
        inputs: dict[str, tuple[int, ...]] = {}
        for name, _, shape in model.walk(input_shape):  # a container has the input of its first layer
            inputs.setdefault(".".join(name.split(".")[:depth]), shape)
        rows = []
        for name, shape in inputs.items():
            layer = layers[name]
            parameters = sum(parameter.data.size for parameter in layer.parameters())
            rows.append(
                Row(name, f"{layer}", layer.output_shape(shape), parameters, layer.multiply_adds(shape))
            )
        parameters = sum(parameter.data.size for parameter in model.parameters())
        multiply_adds = sum(row.multiply_adds for row in rows)
        total = _by(model.output_shape(input_shape)), f"{parameters:,}", f"{multiply_adds:,}"
        cells = [
            ("", "input", _by(input_shape), "", ""),
            *((r.name, r.layer, _by(r.output_shape), *map(_number, r[3:])) for r in rows),
            ("", "total", *total),
        ]
        summary = cls(text_table([HEADINGS, *cells], "<<>", total=True))
        summary.rows, summary.parameters, summary.multiply_adds = rows, parameters, multiply_adds
        summary._cells = cells
        return summary

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        *rows, total = self._cells
        body = "".join(_html(row, "td") for row in rows)
        return (
            f"<table><thead>{_html(HEADINGS, 'th')}</thead><tbody>{body}</tbody>"
            f"<tfoot>{_html(total, 'th')}</tfoot></table>"
        )


def _html(cells: tuple[str, ...], tag: str) -> str:
    aligned = ("left", "left", "right", "right", "right")
    row = "".join(
        f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>'
        for cell, side in zip(cells, aligned, strict=True)
    )
    return f"<tr>{row}</tr>"


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _number(count: int) -> str:
    return f"{count:,}" if count else "-"
