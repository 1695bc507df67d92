"""Normalisation of each sample by itself: it is the same in training and in evaluation, and for a batch of one."""

import math

import numpy as np

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import HyperparameterError, ShapeError
from xpcnn.layers.base import Layer, check_dtype
from xpcnn.layers.parameter import Parameter
from xpcnn.layers.shapes import Shape


class GroupNorm(Layer):
    """Normalise groups of channels together, then scale and shift every channel: (N,C,...) -> (N,C,...).

        y = weight[c] (x - mean) / sqrt(variance + eps) + bias[c]       mean, variance over C/G channels and all pixels

    Parameters
    ----------
    groups, channels : int
        groups divides channels; 1 normalises all channels together, `channels` each by itself (instance norm).
    eps : float

    Raises
    ------
    ShapeError
        At construction, unless groups divides channels; in forward, for an input of other channels.
    HyperparameterError
        Unless eps is a number above 0.
    DtypeError
        For another dtype than the weight's.

    References
    ----------
    Wu and He, "Group Normalization", ECCV 2018.
    """

    def __init__(self, groups: int, channels: int, eps: float = 1e-5) -> None:
        if groups < 1 or channels < 1 or channels % groups:
            raise ShapeError(
                f"GroupNorm({groups}, {channels}): groups must divide channels; pass one of "
                f"{[d for d in range(1, max(channels, 1) + 1) if channels % d == 0]}"
            )
        self.groups, self.channels, self.eps = groups, channels, _positive(eps, "GroupNorm")
        self.weight, self.bias = (Parameter(np.full(channels, value, np.float32)) for value in (1, 0))

    def forward(self, x: Array) -> Array:
        self.output_shape(x.shape[1:])
        check_dtype(x, self.weight, self)
        self.save_for_backward(x)
        return ops.group_norm(x, self.weight.data, self.bias.data, self.groups, self.eps)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (x,) = self.pop_saved()
        dx, dweight, dbias = ops.group_norm_backward(dy, x, self.weight.data, self.groups, self.eps)
        self.weight.add_gradient(dweight)
        self.bias.add_gradient(dbias)
        return dx

    def output_shape(self, input_shape: Shape) -> Shape:
        C = input_shape[0] if input_shape else 0
        if self.channels != C:
            raise ShapeError(
                f"{self}: expected {self.channels} channels, got {C} in {tuple(input_shape)}; pass channels={C}"
            )
        return tuple(input_shape)

    def multiply_adds(self, input_shape: Shape) -> int:
        return 2 * math.prod(input_shape)


class LayerNorm(Layer):
    """Normalise the last axes of every sample, then scale and shift each element: (..., *shape) -> (..., *shape).

        y = weight (x - mean) / sqrt(variance + eps) + bias

    Parameters
    ----------
    shape : int or tuple of int
        Of the last axes, which are normalised together; weight and bias have this shape.
    eps : float

    Raises
    ------
    ShapeError
        At construction, for sizes below 1; in forward, for an input that ends otherwise.
    HyperparameterError
        Unless eps is a number above 0.
    DtypeError
        For another dtype than the weight's.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450.
    """

    def __init__(self, shape: int | tuple[int, ...], eps: float = 1e-5) -> None:
        self.shape, self.eps = (
            (shape,) if isinstance(shape, int) else tuple(shape),
            _positive(eps, "LayerNorm"),
        )
        if not self.shape or min(self.shape) < 1:
            raise ShapeError(
                f"LayerNorm: expected sizes of at least 1, got {shape}; pass LayerNorm(128), say"
            )
        self.weight, self.bias = (Parameter(np.full(self.shape, value, np.float32)) for value in (1, 0))

    def forward(self, x: Array) -> Array:
        self.output_shape(x.shape[1:])
        check_dtype(x, self.weight, self)
        self.save_for_backward(x)
        return ops.layer_norm(x, self.weight.data, self.bias.data, self.eps)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (x,) = self.pop_saved()
        dx, dweight, dbias = ops.layer_norm_backward(dy, x, self.weight.data, self.eps)
        self.weight.add_gradient(dweight)
        self.bias.add_gradient(dbias)
        return dx

    def output_shape(self, input_shape: Shape) -> Shape:
        if tuple(input_shape[-len(self.shape) :]) != self.shape:
            raise ShapeError(
                f"{self}: expected samples that end in {self.shape}, got {tuple(input_shape)}; pass "
                f"shape={tuple(input_shape[-len(self.shape) :])}"
            )
        return tuple(input_shape)

    def multiply_adds(self, input_shape: Shape) -> int:
        return 2 * math.prod(input_shape)


def _positive(eps: float, who: str) -> float:
    if not 0 < eps < math.inf:
        raise HyperparameterError(f"{who}: expected eps above 0, got {eps}; the default is 1e-5")
    return float(eps)
