"""The table that `model.summary(...)` returns."""

from typing import TYPE_CHECKING, NamedTuple, Self

from xpcnn._table import text_table

if TYPE_CHECKING:
    from xpcnn.layers.base import Layer


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

    @classmethod
    def of(cls, model: "Layer", input_shape: tuple[int, ...], depth: int | None = None) -> Self:
        """Measure every layer of a model for one sample of `input_shape`; of containers `depth` deep, the whole."""
        layers = dict(model.named_layers())
        first: dict[str, tuple[int, ...]] = {}
        for name, _, shape in model.walk(input_shape):
            first.setdefault(
                ".".join(name.split(".")[:depth]), shape
            )  # a container sees what its first layer sees
        rows = [
            Row(
                name,
                f"{layers[name]}",
                layers[name].output_shape(shape),
                sum(parameter.data.size for parameter in layers[name].parameters()),
                layers[name].multiply_adds(shape),
            )
            for name, shape in first.items()
        ]
        parameters = sum(parameter.data.size for parameter in model.parameters())
        multiply_adds = sum(row.multiply_adds for row in rows)
        lines = [
            ("", "layer", "output shape", "parameters", "multiply-adds"),
            ("", "input", _by(input_shape), "", ""),
            *(
                (r.name, r.layer, _by(r.output_shape), _number(r.parameters), _number(r.multiply_adds))
                for r in rows
            ),
            ("", "total", _by(model.output_shape(input_shape)), f"{parameters:,}", f"{multiply_adds:,}"),
        ]
        summary = cls(text_table(lines, "<<>", total=True))
        summary.rows, summary.parameters, summary.multiply_adds = rows, parameters, multiply_adds
        return summary

    def __repr__(self) -> str:
        return str(self)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _number(count: int) -> str:
    return f"{count:,}" if count else "-"
