"""AlexNet: five convolutions and three affine layers; it won the ImageNet challenge of 2012 by ten per cent."""

from functools import partial
from typing import Unpack

from xpcnn.initializers import Initializer, he_normal
from xpcnn.layers import (
    Affine,
    Conv,
    Dropout,
    Flatten,
    Layer,
    LocalResponseNorm,
    Pooling,
    ReLU,
    Sequential,
)
from xpcnn.models.options import Options, check_options, flat_size, scaled
from xpcnn.random import Seed, default_rng

PAPER, TORCHVISION = (96, 256, 384, 384, 256), (64, 192, 384, 256, 256)


def alexnet(num_classes: int = 1000, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """Two streams, as on the paper's two GPUs: 60,965,224 parameters.

    Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS
    2012, sections 3.3 to 3.5 and figure 2. Convolutions 2, 4 and 5 have ``groups=2``; the first two are followed by
    local response normalisation with k = 2, alpha = 1e-4 for each channel and beta = 0.75. The 224 x 224 pixels are
    padded by 2: without that, 11 x 11 windows of stride 4 do not give the paper's 55 x 55.
    """
    return _alexnet("alexnet", PAPER, 2, True, num_classes, rng, **options)


def alexnet_one_stream(num_classes: int = 1000, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """The paper's widths in one stream, without groups: 62,378,344 parameters."""
    return _alexnet("alexnet_one_stream", PAPER, 1, True, num_classes, rng, **options)


def alexnet_torchvision(num_classes: int = 1000, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """One narrower stream without response normalisation, as in torchvision: 61,100,840 parameters.

    Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997.
    """
    return _alexnet("alexnet_torchvision", TORCHVISION, 1, False, num_classes, rng, **options)


def _alexnet(
    name: str,
    channels: tuple[int, ...],
    groups: int,
    normalize: bool,
    num_classes: int,
    rng: Seed,
    *,
    input_shape: tuple[int, int, int] = (3, 224, 224),
    width: float = 1.0,
    initializer: Initializer = he_normal,
) -> Layer:
    check_options(name, num_classes, input_shape, width)
    rng = default_rng(rng)
    c1, c2, c3, c4, c5 = (scaled(number, width, groups) for number in channels)
    hidden = scaled(4096, width)
    conv = partial(Conv, initializer=initializer, rng=rng)
    affine = partial(Affine, initializer=initializer, rng=rng)

    def norm() -> list[Layer]:
        return [LocalResponseNorm(5, alpha=5e-4, k=2)] if normalize else []

    features = Sequential(
        conv(input_shape[0], c1, 11, stride=4, padding=2), ReLU(), *norm(), Pooling(3, 2),
        conv(c1, c2, 5, padding=2, groups=groups), ReLU(), *norm(), Pooling(3, 2),
        conv(c2, c3, 3, padding=1), ReLU(),
        conv(c3, c4, 3, padding=1, groups=groups), ReLU(),
        conv(c4, c5, 3, padding=1, groups=groups), ReLU(), Pooling(3, 2),
    )  # fmt: skip
    size = flat_size(features, input_shape, name)
    classifier = Sequential(
        Dropout(0.5, rng=rng), affine(size, hidden), ReLU(),
        Dropout(0.5, rng=rng), affine(hidden, hidden), ReLU(),
        affine(hidden, num_classes),
    )  # fmt: skip
    return Sequential(features=features, flatten=Flatten(), classifier=classifier)
