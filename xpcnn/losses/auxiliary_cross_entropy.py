"""The loss of networks with auxiliary heads, such as GoogLeNet."""

from collections.abc import Sequence
from typing import Any

from xpcnn.backend import Array
from xpcnn.errors.checks import number
from xpcnn.losses.base import Loss
from xpcnn.losses.softmax_cross_entropy import SoftmaxCrossEntropy


class AuxiliaryCrossEntropy(Loss):
    """The loss of a network with auxiliary heads: theirs count too, but less.

        L = L(main) + weight (L(head 1) + L(head 2) + ...)        each L a SoftmaxCrossEntropy

    It takes the list that `layers.Auxiliary` gives in training, and backward() gives it the list that it wants.
    In evaluation there is one output and no list: then it is SoftmaxCrossEntropy.

    Parameters
    ----------
    weight : float
        0.3 in the paper.

    Raises
    ------
    As SoftmaxCrossEntropy does, and HyperparameterError for a weight below 0 or not finite.

    References
    ----------
    Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 5.
    """

    target_name = "labels"

    def __init__(self, weight: float = 0.3) -> None:
        self.weight = number(weight, "weight", "AuxiliaryCrossEntropy", 0, fix="the paper has 0.3")

    def __call__(self, outputs: Array | Sequence[Array], labels: Array) -> Array:
        listed = isinstance(outputs, (list, tuple))
        main, *sides = outputs if listed else [outputs]
        criteria = [SoftmaxCrossEntropy() for _ in (main, *sides)]
        loss, *others = [criterion(y, labels) for criterion, y in zip(criteria, (main, *sides), strict=True)]
        self.save_for_backward(criteria, listed)
        return loss + self.weight * sum(others) if others else loss

    def backward(self) -> Array | list[Array]:
        """Return dL/d(output) for each output, the main one first: a list if a list was given."""
        criteria, listed = self.pop_saved()
        main, *sides = [criterion.backward() for criterion in criteria]
        return [main, *(self.weight * dy for dy in sides)] if listed else main

    def check_targets(self, targets: Any, output_shape: Any) -> None:
        if output_shape and isinstance(output_shape[0], (tuple, list)):
            output_shape = output_shape[0]
        SoftmaxCrossEntropy().check_targets(targets, output_shape)

    def __repr__(self) -> str:
        return f"AuxiliaryCrossEntropy(weight={self.weight})"
