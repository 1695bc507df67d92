"""LeNet-5 as it was in 1998, with the three layers that no other network has."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from xpcnn import ops
from xpcnn.backend import Array, xp
from xpcnn.errors import ShapeError
from xpcnn.errors.checks import function, whole
from xpcnn.geometry import Pair, Window
from xpcnn.initializers import Initializer, he_normal, lecun_uniform
from xpcnn.kernels.precision import in_single
from xpcnn.layers import Affine, Buffer, Conv, Flatten, Layer, Parameter, Pooling, Scale, Sequential, Tanh
from xpcnn.layers.base import check_dtype
from xpcnn.layers.shapes import Shape
from xpcnn.layers.weights import drawn
from xpcnn.models.options import check_options
from xpcnn.random import Seed, default_rng

TABLE_I = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip
"""The maps of S2 that each of the 16 maps of C3 is connected to: 60 connections in place of 96."""


def lenet5_1998(
    num_classes: int = 10,
    rng: Seed = None,
    *,
    input_shape: tuple[int, int, int] = (1, 28, 28),
    activation: Callable[[], Layer] = Tanh,
) -> Layer:
    """The paper's own: C1 - S2 - C3 - S4 - C5 - F6 - distances: 60,000 parameters on MNIST.

    C1 156, S2 12, C3 1,516, S4 32, C5 48,120, F6 10,164: the numbers of section II.B. Table I connects C3 to S2. S2
    and S4 are averages with a learnt factor and bias for each map. (The paper's window adds its four pixels up, so its
    factor is a quarter of ours.) The output is the distance to ten fixed codes. Two things differ from the paper: tanh
    in place of 1.7159 tanh(2x / 3), and random codes in place of small pictures of the digits. The weights begin as in
    the paper's appendix A, uniform and scaled by fan-in.

    LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE 86(11),
    1998.
    """
    check_options("lenet5_1998", num_classes, input_shape)
    function(activation, "activation", "lenet5_1998", "pass activation=Tanh, the class")
    rng = default_rng(rng)
    features = Sequential(
        c1=Conv(input_shape[0], 6, 5, padding=2, initializer=lecun_uniform, rng=rng), squash1=activation(),
        s2=Sequential(Pooling(2, mode="average"), Scale(6)), squash2=activation(),
        c3=_PartialConv(6, TABLE_I, 5, initializer=lecun_uniform, rng=rng), squash3=activation(),
        s4=Sequential(Pooling(2, mode="average"), Scale(16)), squash4=activation(),
        flatten=Flatten(),
    )  # fmt: skip
    (size,) = features.output_shape(input_shape)
    return Sequential(
        **dict(features.children()),
        c5=Affine(size, 120, initializer=lecun_uniform, rng=rng), squash5=activation(),
        f6=Affine(120, 84, initializer=lecun_uniform, rng=rng), squash6=activation(),
        output=_RadialBasis(84, num_classes, rng=rng),
    )  # fmt: skip


class _PartialConv(Layer):
    """Convolution in which a table says what input channels each output channel reads: (N,C,H,W) -> (N,O,OH,OW).

        y[n, o] = bias[o] + sum over c in connections[o] of  w[o, c] * x[n, c]        * as in Conv

    `weight` holds the connections that exist, row by row: (connections, KH, KW). The initializer draws each row with
    its own fan_in. Section II.B and table I of the paper.
    """

    def __init__(
        self,
        in_channels: int,
        connections: Sequence[Sequence[int]],
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | str = 0,
        *,
        initializer: Initializer = he_normal,
        rng: Seed = None,
    ) -> None:
        self.in_channels, self.connections = in_channels, tuple(map(tuple, connections))
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.window = Window(kernel_size, stride, padding)
        # the place of each connection in filters(); on the device, so that no step uploads it
        places = [(output, c) for output, inputs in enumerate(self.connections) for c in inputs]
        self.places = Buffer(np.array(places).T, persistent=False)
        shapes = [(1, len(inputs), *self.window.size) for inputs in self.connections]
        weights = [drawn(initializer, shape, rng, "PartialConv")[0] for shape in shapes]
        self.weight = Parameter(np.concatenate(weights))
        self.bias = Parameter(np.zeros(len(shapes), weights[0].dtype))

    def forward(self, x: Array) -> Array:
        self.output_shape(x.shape[1:])
        check_dtype(x, self.weight, self)
        self.save_for_backward(x)
        return ops.conv(x, self.filters(), self.bias.data, self.window)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (x,) = self.pop_saved()
        dx, dfilters, dbias = ops.conv_backward(dy, x, self.filters(), self.window, need_dx=need_dx)
        self.weight.add_gradient(dfilters[tuple(self.places.data)])
        self.bias.add_gradient(dbias)
        return dx

    def filters(self) -> Array:
        """Return the weights in the layout of Conv, with zeros where there is no connection: (O,C,KH,KW)."""
        shape = (len(self.connections), self.in_channels, *self.window.size)
        filters = xp.zeros(shape, self.weight.data.dtype)
        filters[tuple(self.places.data)] = self.weight.data
        return filters

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 3 or input_shape[0] != self.in_channels:
            raise ShapeError(
                f"{self}: expected images of {self.in_channels} channels, (C, H, W), got {tuple(input_shape)}; "
                "change the layer before it"
            )
        return len(self.connections), *self.window.output_size(*input_shape[1:], who=self)

    def multiply_adds(self, input_shape: Shape) -> int:
        _, OH, OW = self.output_shape(input_shape)
        return int(self.weight.data.size) * OH * OW

    def __format__(self, spec: str) -> str:
        line = f"PartialConv({self.in_channels}, <{len(self.connections)} rows>, {self.kernel_size!r})"
        return format(line, spec)


class _RadialBasis(Layer):
    """Minus the squared distance from x to the center of each class: (M,I) -> (M,D). Nothing is learnt.

        y[m, d] = -sum over i of (x[m, i] - centers[d, i])^2

    The centers are random codes of -1 and 1, one way that the paper names; they are saved with the weights. Under a
    softmax the distances are the penalties of equation 9. Section II.B, equation 7.
    """

    def __init__(self, in_features: int, out_features: int, *, rng: Seed = None) -> None:
        self.in_features = whole(in_features, "in_features", "RadialBasis")
        self.out_features = whole(out_features, "out_features", "RadialBasis")
        codes = default_rng(rng).integers(0, 2, (out_features, in_features)) * 2 - 1
        self.centers = Buffer(codes.astype(np.float32))

    def forward(self, x: Array) -> Array:
        self.output_shape(x.shape[1:])
        check_dtype(x, self.centers, self)  # type: ignore[arg-type]
        self.save_for_backward(x)
        return _distances(x, self.centers.data)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        (x,) = self.pop_saved()
        return _distances_backward(dy, x, self.centers.data) if need_dx else None

    def output_shape(self, input_shape: Shape) -> Shape:
        if input_shape != (self.in_features,):
            raise ShapeError(
                f"{self}: expected ({self.in_features},) for one sample, got {tuple(input_shape)}; put Flatten() "
                f"before it and pass in_features={math.prod(input_shape)}"
            )
        return (self.out_features,)

    def multiply_adds(self, input_shape: Shape) -> int:
        return self.in_features * self.out_features


@in_single
def _distances(x: Array, centers: Array) -> Array:
    return -((x[:, None] - centers) ** 2).sum(axis=2)  # (M, D, I) -> (M, D)


@in_single
def _distances_backward(dy: Array, x: Array, centers: Array) -> Array:
    """dx[m] = -2 sum over d of dy[m, d] (x[m] - centers[d])."""
    return 2 * (dy @ centers - x * dy.sum(axis=1, keepdims=True))


for _layer in (_PartialConv, _RadialBasis):
    _layer.__name__ = _layer.__name__.removeprefix("_")  # in summaries, and in every checkpoint since 0.1
