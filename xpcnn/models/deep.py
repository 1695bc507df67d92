"""DeepConvNet: six small convolutions in place of one large one."""

from xpcnn.layers import Affine, Conv, Dropout, Flatten, Layer, Pooling, ReLU, Sequential
from xpcnn.models.options import check_options, scaled
from xpcnn.random import Seed, default_rng


def deep(
    num_classes: int = 10,
    rng: Seed = None,
    *,
    input_shape: tuple[int, int, int] = (1, 28, 28),
    width: float = 1.0,
) -> Layer:
    """[Conv - ReLU - Conv - ReLU - Pooling] x 3 - Affine - ReLU - Dropout - Affine: 123,552 parameters on MNIST.

    Saito, *Deep Learning from Scratch*, O'Reilly Japan 2016, section 8.1.1 (DeepConvNet). The fourth convolution
    pads by 2, so that 14 x 14 becomes 16 x 16 and halves twice more. The book drops out the class scores as
    well; we leave them whole. `width` multiplies all channels and the 50 hidden units.
    """
    check_options("deep", num_classes, input_shape, width)
    rng, hidden = default_rng(rng), scaled(50, width)
    channels, blocks = input_shape[0], []
    for filters, padding in ((16, 1), (16, 1), (32, 1), (32, 2), (64, 1), (64, 1)):
        blocks += [Conv(channels, scaled(filters, width), 3, padding=padding, rng=rng), ReLU()]
        channels = scaled(filters, width)
    features = Sequential(
        *blocks[:4], Pooling(2), *blocks[4:8], Pooling(2), *blocks[8:], Pooling(2), Flatten()
    )
    (size,) = features.output_shape(input_shape)
    return Sequential(
        *features,
        Affine(size, hidden, rng=rng),
        ReLU(),
        Dropout(0.5, rng=rng),
        Affine(hidden, num_classes, rng=rng),
    )
