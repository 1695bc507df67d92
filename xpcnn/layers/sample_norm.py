"""Normalisation of each sample by itself: the same in training and in evaluation."""

import math
from typing import Any

import numpy as np

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.errors.checks import is_whole, number, whole
from xpcnn.layers.base import check_dtype
from xpcnn.layers.checks import check_channels, divisors
from xpcnn.layers.parameter import Parameter
from xpcnn.layers.shapes import Shape
from xpcnn.layers.weights import Weighted


class SampleNorm(Weighted):
    """What GroupNorm and LayerNorm share: `op` names their function in `xpcnn.ops`, `settings` its last arguments."""

    op: str
    settings: tuple[str, ...]
    bias: Parameter

    def __init__(self, shape: int | tuple[int, ...], eps: float) -> None:
        self.eps = number(eps, "eps", type(self).__name__, above=0, fix="the default is 1e-5")
        self._own(np.ones(shape, np.float32), shape)

    def forward(self, x: Array) -> Array:
        self._check(x.shape, batch=1)
        check_dtype(x, self.weight, self)
        self.save_for_backward(x)
        return getattr(ops, self.op)(x, self.weight.data, self.bias.data, *self._values())

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (x,) = self.pop_saved()
        backward = getattr(ops, f"{self.op}_backward")
        dx, dweight, dbias = backward(dy, x, self.weight.data, *self._values())
        self._add_gradients(dweight, dbias)
        return dx

    def output_shape(self, input_shape: Shape) -> Shape:
        self._check(input_shape, batch=0)
        return tuple(input_shape)

    def multiply_adds(self, input_shape: Shape) -> int:
        return 2 * math.prod(input_shape)

    def _values(self) -> list[Any]:
        return [getattr(self, name) for name in self.settings]

    def _check(self, shape: Shape, batch: int) -> None:
        raise NotImplementedError


class GroupNorm(SampleNorm):
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
        At construction, unless groups divides channels; in forward, for an input with other channels.
    HyperparameterError
        Unless eps is a number above 0.
    DtypeError
        For another dtype than the weight's.

    References
    ----------
    Wu and He, "Group Normalization", ECCV 2018.
    """

    op, settings = "group_norm", ("groups", "eps")

    def __init__(self, groups: int, channels: int, eps: float = 1e-5) -> None:
        self.groups, self.channels = (
            whole(groups, "groups", "GroupNorm"),
            whole(channels, "channels", "GroupNorm"),
        )
        if channels % groups:
            raise ShapeError(
                f"GroupNorm({groups}, {channels}): groups must divide channels; pass one of {divisors(channels)}"
            )
        super().__init__(self.channels, eps)

    def _check(self, shape: Shape, batch: int) -> None:
        check_channels(shape, self.channels, self, batch=batch)


class LayerNorm(SampleNorm):
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
        At construction, for sizes below 1; in forward, for an input whose last axes have another shape.
    HyperparameterError
        Unless eps is a number above 0.
    DtypeError
        For another dtype than the weight's.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450.
    """

    op, settings = "layer_norm", ("eps",)

    def __init__(self, shape: int | tuple[int, ...], eps: float = 1e-5) -> None:
        sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        if not sizes or not all(is_whole(size) and size >= 1 for size in sizes):
            raise ShapeError(
                f"LayerNorm: expected sizes of at least 1, got {shape}; pass LayerNorm(128), say"
            )
        self.shape = tuple(map(int, sizes))
        super().__init__(self.shape, eps)

    def _check(self, shape: Shape, batch: int) -> None:
        given = tuple(shape[batch:][-len(self.shape) :])
        if given != self.shape:
            raise ShapeError(
                f"{self}: expected samples that end in {self.shape}, got {tuple(shape[batch:])}; pass shape={given}"
            )
