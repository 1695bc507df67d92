"""LeNet-5, the network that read cheques: in today's dress, and as it was in 1998."""

from collections.abc import Callable

from xpcnn.errors.checks import function
from xpcnn.initializers import lecun_uniform
from xpcnn.layers import (
    Affine,
    ChannelScale,
    Conv,
    Flatten,
    Layer,
    PartialConv,
    Pooling,
    RadialBasis,
    ReLU,
    Sequential,
    Tanh,
)
from xpcnn.models.options import check_options
from xpcnn.random import Seed, default_rng

TABLE_I = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip
"""The maps of S2 that each of the 16 maps of C3 sees: it breaks the symmetry, and 60 connections do for 96."""


def lenet5(
    num_classes: int = 10,
    rng: Seed = None,
    *,
    input_shape: tuple[int, int, int] = (1, 28, 28),
    activation: Callable[[], Layer] = ReLU,
) -> Layer:
    """Conv 6 - Pooling - Conv 16 - Pooling - Affine 120 - 84 - 10: 61,706 parameters on MNIST.

    LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE
    86(11), 1998, section II.B, in today's dress: every map of the second convolution sees all six of the first,
    ReLU for tanh (or pass ``activation=Tanh``), the maximum for trainable subsampling, softmax for Gaussian
    connections. The paper's 32 x 32 input is MNIST's 28 x 28 with a padding of 2.
    """
    check_options("lenet5", num_classes, input_shape)
    function(activation, "activation", "lenet5", "pass activation=Tanh, the class")
    rng = default_rng(rng)
    features = Sequential(
        Conv(input_shape[0], 6, 5, padding=2, rng=rng), activation(), Pooling(2),
        Conv(6, 16, 5, rng=rng), activation(), Pooling(2), Flatten(),
    )  # fmt: skip
    (size,) = features.output_shape(input_shape)
    return Sequential(
        *features,
        Affine(size, 120, rng=rng),
        activation(),
        Affine(120, 84, rng=rng),
        activation(),
        Affine(84, num_classes, rng=rng),
    )


def lenet5_1998(
    num_classes: int = 10,
    rng: Seed = None,
    *,
    input_shape: tuple[int, int, int] = (1, 28, 28),
    activation: Callable[[], Layer] = Tanh,
) -> Layer:
    """The paper's own: C1 - S2 - C3 - S4 - C5 - F6 - distances: 60,000 parameters on MNIST.

    C1 156, S2 12, C3 1,516, S4 32, C5 48,120, F6 10,164: the numbers of section II.B. C3 sees S2 by table I; S2
    and S4 are averages with a factor and a bias a map, learnt; the output is the distance to ten fixed codes.
    Tanh stands for the paper's 1.7159 tanh(2x / 3), and the codes are random where the paper's are small pictures
    of the digits. The weights begin as in the paper's appendix A, uniform and scaled by fan-in.
    """
    check_options("lenet5_1998", num_classes, input_shape)
    function(activation, "activation", "lenet5_1998", "pass activation=Tanh, the class")
    rng = default_rng(rng)
    features = Sequential(
        c1=Conv(input_shape[0], 6, 5, padding=2, initializer=lecun_uniform, rng=rng), squash1=activation(),
        s2=Sequential(Pooling(2, mode="average"), ChannelScale(6)), squash2=activation(),
        c3=PartialConv(6, TABLE_I, 5, initializer=lecun_uniform, rng=rng), squash3=activation(),
        s4=Sequential(Pooling(2, mode="average"), ChannelScale(16)), squash4=activation(),
        flatten=Flatten(),
    )  # fmt: skip
    (size,) = features.output_shape(input_shape)
    return Sequential(
        **dict(features.children()),
        c5=Affine(size, 120, initializer=lecun_uniform, rng=rng),
        squash5=activation(),
        f6=Affine(120, 84, initializer=lecun_uniform, rng=rng),
        squash6=activation(),
        output=RadialBasis(84, num_classes, rng=rng),
    )
