"""VGG: nothing but 3 x 3 convolutions, and deeper."""

from typing import Unpack

from xpcnn.errors import ShapeError
from xpcnn.errors.checks import flag
from xpcnn.initializers import Initializer, he_normal
from xpcnn.layers import Affine, BatchNorm, Conv, Dropout, Flatten, Layer, Pooling, ReLU, Sequential
from xpcnn.models.options import Options, check_options, flat_size, scaled
from xpcnn.random import Seed, default_rng

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions a stage, between two poolings: columns A, B, D and E of the paper's table 1."""


def vgg(
    depth: int,
    num_classes: int = 1000,
    rng: Seed = None,
    *,
    normalize: bool = False,
    input_shape: tuple[int, int, int] = (3, 224, 224),
    width: float = 1.0,
    initializer: Initializer = he_normal,
) -> Layer:
    """Five stages of convolutions and a pooling, then Affine 4096 - 4096 - classes.

    Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
    section 2.1 and table 1. `normalize` puts a BatchNorm behind every convolution, as torchvision's ``_bn``
    networks have it; the paper is older than that. Images of at least 32 x 32 pixels.
    """
    check_options(f"vgg{depth}", num_classes, input_shape, width)
    flag(normalize, "normalize", "vgg")
    if depth not in DEPTHS:
        raise ShapeError(
            f"vgg: expected a depth of {', '.join(map(str, DEPTHS))}, got {depth!r}; pass depth=16, say"
        )
    rng = default_rng(rng)
    layers: list[Layer] = []
    inputs, hidden = input_shape[0], scaled(4096, width)
    for channels, depth_of_stage in zip(WIDTHS, DEPTHS[depth], strict=True):
        for _ in range(depth_of_stage):
            outputs = scaled(channels, width)
            layers += [Conv(inputs, outputs, 3, padding=1, initializer=initializer, rng=rng)]
            layers += [BatchNorm(outputs), ReLU()] if normalize else [ReLU()]
            inputs = outputs
        layers += [Pooling(2)]
    features = Sequential(*layers)
    size = flat_size(features, input_shape, f"vgg{depth}")
    classifier = Sequential(
        Affine(size, hidden, initializer=initializer, rng=rng), ReLU(), Dropout(0.5, rng=rng),
        Affine(hidden, hidden, initializer=initializer, rng=rng), ReLU(), Dropout(0.5, rng=rng),
        Affine(hidden, num_classes, initializer=initializer, rng=rng),
    )  # fmt: skip
    return Sequential(features=features, flatten=Flatten(), classifier=classifier)


def vgg11(num_classes: int = 1000, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """Configuration A of `vgg`: 132,863,336 parameters."""
    return vgg(11, num_classes, rng, **options)


def vgg13(num_classes: int = 1000, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """Configuration B of `vgg`: 133,047,848 parameters."""
    return vgg(13, num_classes, rng, **options)


def vgg16(num_classes: int = 1000, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """Configuration D of `vgg`: 138,357,544 parameters."""
    return vgg(16, num_classes, rng, **options)


def vgg19(num_classes: int = 1000, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """Configuration E of `vgg`: 143,667,240 parameters."""
    return vgg(19, num_classes, rng, **options)


def vgg11_bn(num_classes: int = 1000, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """Configuration A of `vgg`, batch-normalised: 132,868,840 parameters."""
    return vgg(11, num_classes, rng, normalize=True, **options)


def vgg13_bn(num_classes: int = 1000, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """Configuration B of `vgg`, batch-normalised: 133,053,736 parameters."""
    return vgg(13, num_classes, rng, normalize=True, **options)


def vgg16_bn(num_classes: int = 1000, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """Configuration D of `vgg`, batch-normalised: 138,365,992 parameters."""
    return vgg(16, num_classes, rng, normalize=True, **options)


def vgg19_bn(num_classes: int = 1000, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """Configuration E of `vgg`, batch-normalised: 143,678,248 parameters."""
    return vgg(19, num_classes, rng, normalize=True, **options)
