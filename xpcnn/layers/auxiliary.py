"""A network with more than one place to learn from."""

from collections.abc import Iterator, Sequence
from typing import Any

from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.layers.base import Layer
from xpcnn.layers.containers import Container
from xpcnn.layers.shapes import Shape
from xpcnn.layers.tree import dotted


class Auxiliary(Container):
    """A trunk of k + 1 pieces, one after another, and k heads: head i reads the output of piece i.

    In training forward returns a list, the output of the trunk first and then those of the heads, and backward takes
    the list of their gradients: `losses.AuxiliaryCrossEntropy` takes the outputs and returns the gradients. In
    evaluation forward returns the output of the trunk alone, and backward takes its gradient alone; `output_shape`
    too is that of the trunk. Since the output is a list, this layer is the last of a network, or all of it.

    Parameters
    ----------
    trunk : sequence of k + 1 Layers
        They are named trunk0, trunk1, ...
    heads : sequence of k Layers
        They are named head0, head1, ...

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
        named = {
            f"{kind}{index}": layer
            for kind, layers in (("trunk", trunk), ("head", heads))
            for index, layer in enumerate(layers if isinstance(layers, Sequence) else [layers])
        }
        super().__init__(**named)
        if len(self.trunk) != len(self.heads) + 1:
            raise ShapeError(
                f"Auxiliary: expected one piece of the trunk more than heads, got {len(self.trunk)} and "
                f"{len(self.heads)}; cut the trunk where the heads read it"
            )

    @property
    def trunk(self) -> tuple[Layer, ...]:
        """The pieces of the trunk, in order."""
        return tuple(layer for name, layer in self._inside.items() if name.startswith("trunk"))

    @property
    def heads(self) -> tuple[Layer, ...]:
        """The heads, in order."""
        return tuple(layer for name, layer in self._inside.items() if name.startswith("head"))

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
        trunk, (used,) = self.trunk, self.pop_saved()
        dy, *sides = dy if isinstance(dy, (list, tuple)) else [dy]
        if len(sides) != used:
            raise ShapeError(
                f"{self}: expected {used + 1} gradients, one for the trunk and {used} for the heads, got "
                f"{len(sides) + 1}; use losses.AuxiliaryCrossEntropy, and backward() in the mode of its forward()"
            )
        dy = trunk[-1].backward(dy, need_dx or len(trunk) > 1)
        for index in reversed(range(len(trunk) - 1)):
            if used:
                dy = dy + self.heads[index].backward(sides[index])
            dy = trunk[index].backward(dy, need_dx or index > 0)
        return dy

    def output_shape(self, input_shape: Shape) -> Shape:
        for piece in self.trunk:
            input_shape = piece.output_shape(input_shape)
        return input_shape

    def walk(self, input_shape: Shape, name: str = "") -> Iterator[tuple[str, Layer, Shape]]:
        for index, piece in enumerate(self.trunk):
            yield from piece.walk(input_shape, dotted(name, f"trunk{index}"))
            input_shape = piece.output_shape(input_shape)
            if index < len(self.heads):
                yield from self.heads[index].walk(input_shape, dotted(name, f"head{index}"))

    def __repr__(self) -> str:
        return f"Auxiliary(\n    trunk={list(self.trunk)!r},\n    heads={list(self.heads)!r},\n)"
