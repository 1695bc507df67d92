"""SimpleConvNet: one convolution, and already 98.9% of MNIST."""

from xpcnn.layers import Affine, Conv, Flatten, Layer, Pooling, ReLU, Sequential
from xpcnn.random import Seed, default_rng


def simple(
    num_classes: int = 10, rng: Seed = None, *, input_shape: tuple[int, int, int] = (1, 28, 28)
) -> Layer:
    """Conv - ReLU - Pooling - Affine - ReLU - Affine: 433,890 parameters on MNIST.

    Saito, *Deep Learning from Scratch*, O'Reilly Japan 2016, section 7.5 (SimpleConvNet). The weights begin as
    He et al. advise in place of the book's N(0, 0.01^2).
    """
    rng = default_rng(rng)
    features = Sequential(Conv(input_shape[0], 30, 5, rng=rng), ReLU(), Pooling(2), Flatten())
    (size,) = features.output_shape(input_shape)
    return Sequential(*features, Affine(size, 100, rng=rng), ReLU(), Affine(100, num_classes, rng=rng))
