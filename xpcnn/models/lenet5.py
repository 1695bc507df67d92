"""LeNet-5 as people build it today; `lenet5_1998` is the paper's own."""

from collections.abc import Callable

from xpcnn.errors.checks import function
from xpcnn.layers import Affine, Conv, Flatten, Layer, Pooling, ReLU, Sequential
from xpcnn.models.options import check_options
from xpcnn.random import Seed, default_rng


def lenet5(
    num_classes: int = 10,
    rng: Seed = None,
    *,
    input_shape: tuple[int, int, int] = (1, 28, 28),
    activation: Callable[[], Layer] = ReLU,
) -> Layer:
    """Conv 6 - Pooling - Conv 16 - Pooling - Affine 120 - 84 - 10: 61,706 parameters on MNIST.

    LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE
    86(11), 1998, section II.B, in its present form: the second convolution is fully connected, ReLU replaces tanh (or
    pass ``activation=Tanh``), max pooling replaces the trainable subsampling, and softmax the Gaussian connections.
    The paper's 32 x 32 input is MNIST's 28 x 28 with a padding of 2.
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
