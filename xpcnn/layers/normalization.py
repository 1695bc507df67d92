"""Normalisation layers."""

import math

import numpy as np

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.errors.checks import number, whole
from xpcnn.layers.base import Layer, check_dtype
from xpcnn.layers.checks import check_channels
from xpcnn.layers.parameter import Buffer
from xpcnn.layers.shapes import Shape
from xpcnn.layers.weights import Weighted


class BatchNorm(Weighted):
    """Normalise every channel over the batch (and pixels), then scale and shift it: (N,C,...) -> (N,C,...).

        y = weight (x - mean) / sqrt(variance + eps) + bias

    In training mean and variance are those of the batch, and update the running ones,
    ``running = (1 - momentum) running + momentum batch``, with the unbiased variance; evaluation uses the running
    ones. This is PyTorch's convention.

    Parameters
    ----------
    channels : int
    eps : float
    momentum : float
        The share of the latest batch in the running statistics.

    Raises
    ------
    ShapeError
        For an input with other channels, or one value a channel in training (it has no variance).
    DtypeError
        For another dtype than the weight's.
    HyperparameterError
        Unless eps > 0 and 0 <= momentum <= 1.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization", ICML 2015.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        self.channels = whole(channels, "channels", "BatchNorm")
        self.eps = number(eps, "eps", "BatchNorm", above=0, fix="the default is 1e-5")
        self.momentum = number(momentum, "momentum", "BatchNorm", 0, 1, fix="the default is 0.1")
        self._own(np.ones(channels, np.float32), channels)
        self.running_mean = Buffer(np.zeros(channels, np.float32))
        self.running_variance = Buffer(np.ones(channels, np.float32))

    def forward(self, x: Array) -> Array:
        check_channels(x.shape, self.channels, self, batch=1)
        check_dtype(x, self.weight, self)
        mean, variance = self.running_mean.data, self.running_variance.data
        if self.training:
            M = x.size // self.channels
            if M <= 1:
                raise ShapeError(
                    f"{self}: expected more than one value a channel in training, got shape {x.shape}; "
                    "pass a larger batch, or call model.eval()"
                )
            mean, variance = ops.batch_statistics(x)
            self._follow(self.running_mean, mean)
            self._follow(self.running_variance, variance * (M / (M - 1)))
        self.save_for_backward(x, mean, variance, self.training)
        return ops.batch_norm(x, self.weight.data, self._bias(), mean, variance, self.eps)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        x, mean, variance, of_batch = self.pop_saved()
        dx, dweight, dbias = ops.batch_norm_backward(
            dy, x, self.weight.data, mean, variance, self.eps, of_batch
        )
        self._add_gradients(dweight, dbias)
        return dx

    def output_shape(self, input_shape: Shape) -> Shape:
        check_channels(input_shape, self.channels, self)
        return tuple(input_shape)

    def _follow(self, running: Buffer, batch: Array) -> None:
        running.data *= 1 - self.momentum  # in place: a recorded step has its address
        running.data += batch * self.momentum


class LocalResponseNorm(Layer):
    """Divide every activation by a power of the energy of its neighbouring channels: (N,C,...) -> (N,C,...).

        y[c] = x[c] / (k + alpha / size  sum of x[d]^2)^beta        d from c - size // 2 to c + (size - 1) // 2

    `alpha` is divided by `size`, as in Caffe, PyTorch and ONNX. The paper does not divide: its alpha of 1e-4
    over 5 channels, with k = 2, is ``LocalResponseNorm(5, alpha=5e-4, k=2)`` here.

    Parameters
    ----------
    size : int
        Channels in a neighbourhood.
    alpha, beta, k : float

    Raises
    ------
    ShapeError
        For size below 1, or an input without a channel axis.
    HyperparameterError
        Unless alpha and beta are at least 0, and k is above 0.

    References
    ----------
    Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
    NIPS 2012, section 3.3.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = whole(size, "size", "LocalResponseNorm", fix="the paper has 5")
        self.alpha = number(alpha, "alpha", "LocalResponseNorm", 0, fix="the default is 1e-4")
        self.beta = number(beta, "beta", "LocalResponseNorm", 0, fix="the default is 0.75")
        self.k = number(
            k, "k", "LocalResponseNorm", above=0, fix="the default is 1, and at 0 it divides by zero"
        )

    def forward(self, x: Array) -> Array:
        check_channels(x.shape, None, self, batch=1)
        y, scale = ops.local_response_norm(x, self.size, self.alpha, self.beta, self.k)
        self.save_for_backward(x, scale)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        x, scale = self.pop_saved()
        if not need_dx:
            return None
        return ops.local_response_norm_backward(dy, x, scale, self.size, self.alpha, self.beta)

    def output_shape(self, input_shape: Shape) -> Shape:
        check_channels(input_shape, None, self)
        return tuple(input_shape)

    def multiply_adds(self, input_shape: Shape) -> int:
        return self.size * math.prod(input_shape)
