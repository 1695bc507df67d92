"""VGG: convolutions of 3 x 3 only, in up to 19 layers."""

from functools import partial

from xpcnn.errors import ShapeError
from xpcnn.errors.checks import flag
from xpcnn.initializers import Initializer, he_normal
from xpcnn.layers import Affine, BatchNorm, Conv, Dropout, Flatten, Layer, Pooling, ReLU, Sequential
from xpcnn.models.options import Network, check_options, flat_size, of_depth, scaled
from xpcnn.random import Seed, default_rng

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions in each stage, before its pooling: columns A, B, D and E of the paper's table 1."""


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
    section 2.1 and table 1. `normalize` puts a BatchNorm after every convolution, as in torchvision's ``_bn`` networks
    (the paper has none). Images of at least 32 x 32 pixels.
    """
    check_options(f"vgg{depth}", num_classes, input_shape, width)
    flag(normalize, "normalize", "vgg")
    if depth not in DEPTHS:
        raise ShapeError(
            f"vgg: expected a depth of {', '.join(map(str, DEPTHS))}, got {depth!r}; pass depth=16, say"
        )
    rng = default_rng(rng)
    affine = partial(Affine, initializer=initializer, rng=rng)
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
        affine(size, hidden), ReLU(), Dropout(0.5, rng=rng),
        affine(hidden, hidden), ReLU(), Dropout(0.5, rng=rng),
        affine(hidden, num_classes),
    )  # fmt: skip
    return Sequential(features=features, flatten=Flatten(), classifier=classifier)


def _named(depth: int, configuration: str, parameters: str, normalize: bool = False) -> Network:
    name, normalized = f"vgg{depth}{'_bn' * normalize}", ", batch-normalised" * normalize
    doc = f"Configuration {configuration} of `vgg`{normalized}: {parameters} parameters."
    return of_depth(vgg, depth, name, doc, normalize=normalize)


vgg11 = _named(11, "A", "132,863,336")
vgg13 = _named(13, "B", "133,047,848")
vgg16 = _named(16, "D", "138,357,544")
vgg19 = _named(19, "E", "143,667,240")
vgg11_bn = _named(11, "A", "132,868,840", normalize=True)
vgg13_bn = _named(13, "B", "133,053,736", normalize=True)
vgg16_bn = _named(16, "D", "138,365,992", normalize=True)
vgg19_bn = _named(19, "E", "143,678,248", normalize=True)
