"""Radial basis functions with fixed centers."""

import math

import numpy as np

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import DtypeError, ShapeError
from xpcnn.errors.checks import whole
from xpcnn.layers.base import Layer
from xpcnn.layers.parameter import Buffer
from xpcnn.layers.shapes import Shape
from xpcnn.random import Seed, default_rng


class RadialBasis(Layer):
    """Minus the squared distance from x to each class's center: (M,I) -> (M,D). Nothing to learn.

        y[m, d] = -sum over i of (x[m, i] - centers[d, i])^2

    The centers are codes of -1 and 1, drawn at random: the paper names this as one way, and itself takes
    small pictures of the characters. They travel with the weights. Under a softmax the distances are the
    penalties of the paper's equation 9.

    Parameters
    ----------
    in_features, out_features : int
        I, the length of a code, and D, the number of classes.
    rng : numpy Generator or seed
        Draws the codes.

    Raises
    ------
    ShapeError
        At construction for sizes below 1; in forward for an input that is not (M, I).
    DtypeError
        For another dtype than the centers'.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE
    86(11), 1998, section II.B, equation 7.
    """

    def __init__(self, in_features: int, out_features: int, *, rng: Seed = None) -> None:
        self.in_features = whole(in_features, "in_features", "RadialBasis")
        self.out_features = whole(out_features, "out_features", "RadialBasis")
        codes = default_rng(rng).integers(0, 2, (out_features, in_features)) * 2 - 1
        self.centers = Buffer(codes.astype(np.float32))

    def forward(self, x: Array) -> Array:
        self.output_shape(x.shape[1:])
        if x.dtype != self.centers.data.dtype:
            wanted = self.centers.data.dtype.name
            raise DtypeError(
                f"{self}: expected {wanted}, got {x.dtype.name}; convert the model: model.astype({x.dtype.name!r})"
            )
        self.save_for_backward(x)
        return ops.radial_basis(x, self.centers.data)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (x,) = self.pop_saved()
        return ops.radial_basis_backward(dy, x, self.centers.data) if need_dx else None

    def output_shape(self, input_shape: Shape) -> Shape:
        if input_shape != (self.in_features,):
            raise ShapeError(
                f"{self}: expected ({self.in_features},) for one sample, got {tuple(input_shape)}; put Flatten() "
                f"before it and pass in_features={math.prod(input_shape)}"
            )
        return (self.out_features,)

    def multiply_adds(self, input_shape: Shape) -> int:
        return self.in_features * self.out_features
