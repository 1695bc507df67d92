"""Six layers as a reader writes them: each keeps the contract by the two rules of `xpcnn.layers.Layer` alone."""

import numpy as np

from xpcnn.backend import xp
from xpcnn.layers import (
    Affine,
    BatchNorm,
    Conv,
    GlobalAveragePooling,
    Layer,
    Parameter,
    Sequential,
    Sigmoid,
    Tanh,
)


class SqueezeExcite(Layer):
    """Scale every channel by a number between 0 and 1, computed from all channels (Hu et al., CVPR 2018)."""

    def __init__(self, channels, reduction=2):
        self.gate = Sequential(
            GlobalAveragePooling(), Affine(channels, channels // reduction, rng=0), Tanh(),
            Affine(channels // reduction, channels, rng=1), Sigmoid(),
        )  # fmt: skip

    def forward(self, x):
        scale = self.gate(x)[:, :, None, None]  # (N, C, 1, 1)
        self.save_for_backward(x, scale)
        return x * scale

    def backward(self, dy, need_dx=True):
        x, scale = self.pop_saved()
        return dy * scale + self.gate.backward((dy * x).sum(axis=(2, 3)))


class Stem(Layer):
    """A convolution and a batch normalisation; it keeps no argument of its constructor."""

    def __init__(self, inputs, outputs):
        self.conv = Conv(inputs, outputs, 3, padding="same", bias=False, rng=0)
        self.norm = BatchNorm(outputs)

    def forward(self, x):
        return self.norm(self.conv(x))

    def backward(self, dy, need_dx=True):
        return self.conv.backward(self.norm.backward(dy), need_dx)


class Stack(Layer):
    """Layers in a list, in a dictionary."""

    def __init__(self, width, depth):
        self.blocks = {"hidden": [Affine(width, width, rng=index) for index in range(depth)]}
        self.activations = tuple(Tanh() for _ in range(depth))

    def forward(self, x):
        for affine, tanh in zip(self.blocks["hidden"], self.activations, strict=True):
            x = tanh(affine(x))
        return x

    def backward(self, dy, need_dx=True):
        for affine, tanh in zip(self.blocks["hidden"][::-1], self.activations[::-1], strict=True):
            dy = affine.backward(tanh.backward(dy))
        return dy


class TiedAutoencoder(Layer):
    """tanh(x W^T) W: one weight encodes and decodes."""

    def __init__(self, features, code):
        self.encoder, self.tanh = Affine(features, code, bias=False, rng=0), Tanh()

    def forward(self, x):
        h = self.tanh(self.encoder(x))
        self.save_for_backward(h)
        return h @ self.encoder.weight.data

    def backward(self, dy, need_dx=True):
        (h,) = self.pop_saved()
        weight = self.encoder.weight
        weight.add_gradient(h.T @ dy)
        return self.encoder.backward(self.tanh.backward(dy @ weight.data.T), need_dx)


class Compare(Layer):
    """Two inputs, one branch for both: a siamese network."""

    def __init__(self, features, code):
        self.branch = Sequential(Affine(features, code, rng=0), Tanh())

    def forward(self, x):
        left, right = x
        return self.branch(left) - self.branch(right)

    def backward(self, dy, need_dx=True):
        right = self.branch.backward(-dy, need_dx)  # in reverse order
        return self.branch.backward(dy, need_dx), right


class Mask(Layer):
    """Multiply by a fixed array, then by a learned one of the same shape."""

    def __init__(self, mask, label="mask"):
        self.mask, self.label = np.asarray(mask, np.float32), label
        self.weight = Parameter(np.ones(self.mask.shape, np.float32))

    def forward(self, x):
        self.save_for_backward(x)
        return x * xp.asarray(self.mask).astype(x.dtype) * self.weight.data

    def backward(self, dy, need_dx=True):
        (x,) = self.pop_saved()
        mask = xp.asarray(self.mask).astype(x.dtype)
        self.weight.add_gradient((dy * mask * x).sum(axis=0))
        return dy * mask * self.weight.data


USERS = {
    "squeeze and excitation": (lambda: SqueezeExcite(4), (4, 3, 5)),
    "stem": (lambda: Stem(2, 3), (2, 5, 4)),
    "layers in a list": (lambda: Stack(5, 2), (5,)),
    "tied autoencoder": (lambda: TiedAutoencoder(6, 3), (6,)),
    "two inputs": (lambda: Compare(4, 3), ((4,), (4,))),
    "array argument": (lambda: Mask(np.arange(6).reshape(2, 3)), (2, 3)),
}
"""By name: a function that makes the layer, and the shape of one sample."""

__all__ = ["USERS", "Compare", "Mask", "SqueezeExcite", "Stack", "Stem", "TiedAutoencoder"]
