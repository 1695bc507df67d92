"""A network with more than one place to learn from."""

from collections.abc import Iterator, Sequence
from typing import Any

from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.layers.base import Layer
from xpcnn.layers.containers import Container
from xpcnn.layers.shapes import Shape


def _listed(pieces: Any) -> Sequence[Any]:
    return pieces if isinstance(pieces, Sequence) else [pieces]


class Auxiliary(Container):
    """A trunk of k + 1 pieces, one after another, and k heads: head i reads what piece i gives.

    In training forward returns a list, the trunk's output first and then each head's, and backward takes
    the list of their gradients: `losses.AuxiliaryCrossEntropy` accepts the one and gives the other. In
    evaluation the heads rest: forward returns the trunk's output alone, and backward takes its gradient alone.
    So does everything that asks for one shape, such as `output_shape`. Since the output is a list, nothing can
    follow: this layer is a network's last, or all of it.

    Parameters
    ----------
    trunk : sequence of k + 1 Layers
    heads : sequence of k Layers

    Raises
    ------
    ShapeError
        At construction, if there is not one piece more than heads; in backward, for a list of another length.

    References
    ----------
    Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 5; Lee et al., "Deeply-Supervised
    Nets", AISTATS 2015.
    """

    def __init__(self, trunk: Sequence[Layer], heads: Sequence[Layer]) -> None:
        self.trunk, self.heads = (self._only_layers(*_listed(pieces)) for pieces in (trunk, heads))
        if len(self.trunk) != len(self.heads) + 1:
            raise ShapeError(
                f"Auxiliary: expected one piece of the trunk more than heads, got {len(self.trunk)} and "
                f"{len(self.heads)}; cut the trunk where the heads read it"
            )

    def forward(self, x: Array) -> Any:
        outputs = []
        for piece, head in zip(self.trunk, self.heads, strict=False):
            x = piece.forward(x)
            if self.training:
                outputs.append(head.forward(x))
        y = self.trunk[-1].forward(x)
        self.save_for_backward(len(outputs))
        return [y, *outputs] if outputs else y

    def backward(self, dy: Any, need_dx: bool = True) -> Array | None:
        (awake,) = self.pop_saved()
        listed = isinstance(dy, (list, tuple))
        dy, *sides = dy if listed else [dy]
        if len(sides) != awake:
            raise ShapeError(
                f"{self}: expected {awake + 1} gradients, the trunk's and {awake} heads', got {len(sides) + 1}; "
                "use losses.AuxiliaryCrossEntropy, and backward() in the mode of its forward()"
            )
        dy = self.trunk[-1].backward(dy, need_dx or len(self.trunk) > 1)
        for index in reversed(range(len(self.heads))):
            if awake:
                dy = dy + self.heads[index].backward(sides[index])
            dy = self.trunk[index].backward(dy, need_dx or index > 0)
        return dy

    def output_shape(self, input_shape: Shape) -> Shape:
        for piece in self.trunk:
            input_shape = piece.output_shape(input_shape)
        return input_shape

    def walk(self, input_shape: Shape, name: str = "") -> Iterator[tuple[str, Layer, Shape]]:
        prefix = f"{name}." if name else ""
        for index, piece in enumerate(self.trunk):
            yield from piece.walk(input_shape, f"{prefix}trunk{index}")
            input_shape = piece.output_shape(input_shape)
            if index < len(self.heads):
                yield from self.heads[index].walk(input_shape, f"{prefix}head{index}")

    def children(self) -> Iterator[tuple[str, Layer]]:
        for index, piece in enumerate(self.trunk):
            yield f"trunk{index}", piece
        for index, head in enumerate(self.heads):
            yield f"head{index}", head

    def __repr__(self) -> str:
        return f"Auxiliary(\n    trunk={list(self.trunk)!r},\n    heads={list(self.heads)!r},\n)"
