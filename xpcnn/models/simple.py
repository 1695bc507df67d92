"""SimpleConvNet: one convolution, and already 98.9% of MNIST."""

from xpcnn.layers import Affine, Conv, Flatten, Layer, Pooling, ReLU, Sequential
from xpcnn.models.options import check_options, scaled
from xpcnn.random import Seed, default_rng


def simple(
    num_classes: int = 10,
    rng: Seed = None,
    *,
    input_shape: tuple[int, int, int] = (1, 28, 28),
    width: float = 1.0,
) -> Layer:
    """Conv - ReLU - Pooling - Affine - ReLU - Affine: 433,890 parameters on MNIST.

    Saito, *Deep Learning from Scratch*, O'Reilly Japan 2016, section 7.5 (SimpleConvNet). The weights begin as
    He et al. advise in place of the book's N(0, 0.01^2). `width` multiplies its 30 channels and 100 hidden units.
    """
    check_options("simple", num_classes, input_shape, width)
    rng, channels, hidden = default_rng(rng), scaled(30, width), scaled(100, width)
    features = Sequential(Conv(input_shape[0], channels, 5, rng=rng), ReLU(), Pooling(2), Flatten())
    (size,) = features.output_shape(input_shape)
    return Sequential(*features, Affine(size, hidden, rng=rng), ReLU(), Affine(hidden, num_classes, rng=rng))
