"""LeNet-5, the network that read cheques."""

from xpcnn.layers import Affine, Conv, Flatten, Layer, Pooling, ReLU, Sequential
from xpcnn.random import Seed, default_rng


def lenet5(
    num_classes: int = 10, rng: Seed = None, *, input_shape: tuple[int, int, int] = (1, 28, 28)
) -> Layer:
    """Conv 6 - Pooling - Conv 16 - Pooling - Affine 120 - 84 - 10: 61,706 parameters on MNIST.

    LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE
    86(11), 1998, section II.B, in today's dress: every map of the second convolution sees all six of the first,
    ReLU for tanh, the maximum for trainable subsampling, softmax for Gaussian connections. The paper's 32 x 32
    input is MNIST's 28 x 28 with a padding of 2.
    """
    rng = default_rng(rng)
    features = Sequential(
        Conv(input_shape[0], 6, 5, padding=2, rng=rng), ReLU(), Pooling(2),
        Conv(6, 16, 5, rng=rng), ReLU(), Pooling(2), Flatten(),
    )  # fmt: skip
    (size,) = features.output_shape(input_shape)
    return Sequential(
        *features,
        Affine(size, 120, rng=rng),
        ReLU(),
        Affine(120, 84, rng=rng),
        ReLU(),
        Affine(84, num_classes, rng=rng),
    )
