"""The loss of networks with auxiliary heads, such as GoogLeNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpcnn.backend import Array
from xpcnn.errors.checks import number
from xpcnn.layers.representation import shown_arguments
from xpcnn.losses.base import MEAN
from xpcnn.losses.softmax_cross_entropy import SoftmaxCrossEntropy


class AuxiliaryCrossEntropy(SoftmaxCrossEntropy):
    """The loss of a network with auxiliary heads: theirs count too, but less.

        L = L(main) + weight (L(head 1) + L(head 2) + ...)        each L a SoftmaxCrossEntropy

    It takes the list that `layers.Auxiliary` returns in training, and backward() returns the list that it takes.
    In evaluation there is one output and no list: then it is SoftmaxCrossEntropy.

    Parameters
    ----------
    weight : float
        0.3 in the paper.
    axis, label_smoothing, class_weight, ignore_index, reduction
        Of each L, as in `SoftmaxCrossEntropy`.

    Raises
    ------
    As SoftmaxCrossEntropy does, and HyperparameterError for a weight below 0 or not finite.

    References
    ----------
    Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 5.
    """

    def __init__(
        self,
        weight: float = 0.3,
        axis: int = -1,
        label_smoothing: float = 0.0,
        class_weight: Sequence[float] | None = None,
        ignore_index: int | None = None,
        reduction: str = MEAN,
    ) -> None:
        self.weight = number(weight, "weight", "AuxiliaryCrossEntropy", 0, fix="the paper has 0.3")
        super().__init__(axis, label_smoothing, class_weight, ignore_index, reduction)

    def __call__(self, outputs: Array | Sequence[Array], labels: Array) -> Array:
        listed = isinstance(outputs, (list, tuple))
        losses, saved = [], []
        for y in outputs if listed else [outputs]:
            losses.append(super().__call__(y, labels))
            saved.append(self.pop_saved())
        self.save_for_backward(saved, listed)
        main, *others = losses
        return main + self.weight * sum(others) if others else main

    def backward(self) -> Any:
        """Return dL/d(output) for each output, the main one first: a list if a list was given."""
        saved, listed = self.pop_saved()
        gradients = []
        for values in saved:
            self.save_for_backward(*values)
            gradients.append(super().backward())
        main, *others = gradients
        return [main, *(self.weight * dy for dy in others)] if listed else main

    def check_targets(self, targets: Any, output_shape: Any) -> None:
        super().check_targets(targets, _main(output_shape))

    def count(self, targets: Any, output_shape: Any) -> float:
        return super().count(targets, _main(output_shape))

    def __repr__(self) -> str:
        others = [shown for shown in shown_arguments(self) if not shown.startswith("weight=")]
        return f"AuxiliaryCrossEntropy({', '.join([f'weight={self.weight}', *others])})"


def _main(output_shape: Any) -> Any:
    """Return the shape of the main output."""
    return output_shape[0] if output_shape and isinstance(output_shape[0], (tuple, list)) else output_shape
