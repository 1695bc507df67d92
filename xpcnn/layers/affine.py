"""The affine (fully connected, dense) layer."""

import math

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.errors.checks import flag, whole
from xpcnn.initializers import Initializer, he_normal
from xpcnn.layers.base import check_dtype
from xpcnn.layers.shapes import Shape
from xpcnn.layers.weights import Weighted, drawn
from xpcnn.random import Seed


class Affine(Weighted):
    """y = x W^T + b on the last axis, over any number of leading axes: (..., I) -> (..., O).

    Parameters
    ----------
    in_features, out_features : int
        I and O; `weight` is (O, I), the transpose of the book's.
    bias : bool
    initializer : function of (shape, rng), default he_normal
        Draws the weight; the bias begins at zero.
    rng : numpy Generator or seed

    Raises
    ------
    ShapeError
        At construction for sizes below 1, or an initializer that draws another shape; in forward if the last axis
        is not I.
    DtypeError
        For another dtype than the weight's, or a weight that is not floating.
    HyperparameterError
        For an initializer that draws what is not finite.

    Examples
    --------
    >>> Affine(784, 100).output_shape((784,))
    (100,)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        initializer: Initializer = he_normal,
        rng: Seed = None,
    ) -> None:
        self.in_features = whole(in_features, "in_features", "Affine")
        self.out_features = whole(out_features, "out_features", "Affine")
        with_bias = flag(bias, "bias", "Affine")
        weight = drawn(initializer, (self.out_features, self.in_features), rng, "Affine")
        self._own(weight, self.out_features, with_bias)

    def forward(self, x: Array) -> Array:
        self._check(x.shape, batch=1)
        check_dtype(x, self.weight, self)
        self.save_for_backward(x)
        return ops.affine(x, self.weight.data, self._bias())

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (x,) = self.pop_saved()
        dx, dweight, dbias = ops.affine_backward(dy, x, self.weight.data, need_dx)
        self._add_gradients(dweight, dbias)
        return dx

    def output_shape(self, input_shape: Shape) -> Shape:
        self._check(input_shape, batch=0)
        return (*input_shape[:-1], self.out_features)

    def multiply_adds(self, input_shape: Shape) -> int:
        return math.prod(input_shape) * self.out_features

    def _check(self, shape: Shape, batch: int) -> None:
        if len(shape) > batch and shape[-1] == self.in_features:
            return
        features = math.prod(shape[batch:])
        if len(shape) == batch:
            fix = "pass x[None] for a batch of one"
        elif features == self.in_features:
            fix = "put Flatten() before it"
        elif len(shape) == 3 + batch:
            fix = f"put Flatten() before it and pass in_features={features}"
        else:
            fix = f"pass in_features={shape[-1]}"
        raise ShapeError(f"{self}: expected {self.in_features} features, got shape {tuple(shape)}; {fix}")
