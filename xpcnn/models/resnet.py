"""Residual networks for ImageNet: a block learns what to add to its input, so a hundred of them still learn."""

from functools import partial
from typing import Unpack

from xpcnn.errors import ShapeError
from xpcnn.errors.checks import flag
from xpcnn.initializers import Initializer, he_normal
from xpcnn.layers import (
    Affine,
    BatchNorm,
    Conv,
    GlobalAveragePooling,
    Layer,
    Pooling,
    ReLU,
    Residual,
    Sequential,
)
from xpcnn.models.options import Options, check_options, scaled
from xpcnn.random import Seed, default_rng

WIDTHS = (64, 128, 256, 512)
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks a stage, of two convolutions up to 34 layers, of three ("bottlenecks") from 50 on: table 1."""


class ResNetOptions(Options, total=False):
    """`Options`, and where a bottleneck takes its stride.

    Attributes
    ----------
    paper_stride : bool
        On the first 1x1 convolution, as the paper has it, in place of the 3x3, as torchvision does. The parameters
        are as many; the 3x3 then works on a quarter of the pixels.
    """

    paper_stride: bool


def resnet(
    depth: int,
    num_classes: int = 1000,
    rng: Seed = None,
    *,
    input_shape: tuple[int, int, int] = (3, 224, 224),
    width: float = 1.0,
    initializer: Initializer = he_normal,
    paper_stride: bool = False,
) -> Layer:
    """Conv 7x7 - Pooling - four stages of residual blocks - mean - Affine.

    He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, sections 3.3 and 4.1, table
    1, figure 5; shortcuts are projections where the shape changes (option B). Any size of image.
    """
    check_options(f"resnet{depth}", num_classes, input_shape, width)
    flag(paper_stride, "paper_stride", "resnet")
    if depth not in BLOCKS:
        raise ShapeError(
            f"resnet: expected a depth of {', '.join(map(str, BLOCKS))}, got {depth!r}; pass depth=18, say"
        )
    rng = default_rng(rng)
    conv = partial(Conv, bias=False, initializer=initializer, rng=rng)
    expansion = 4 if depth >= 50 else 1
    inputs = scaled(64, width)
    layers: dict[str, Layer] = {
        "conv1": conv(input_shape[0], inputs, 7, 2, 3),
        "bn1": BatchNorm(inputs),
        "relu": ReLU(),
        "maxpool": Pooling(3, 2, 1),
    }
    for stage, (channels, blocks) in enumerate(zip(WIDTHS, BLOCKS[depth], strict=True), start=1):
        channels, stage_of_blocks = scaled(channels, width), []
        for block in range(blocks):
            stride, outputs = 2 if stage > 1 and block == 0 else 1, channels * expansion
            body = (
                basic(conv, inputs, channels, stride)
                if expansion == 1
                else bottleneck(conv, inputs, channels, stride, paper_stride)
            )
            projection = Sequential(conv(inputs, outputs, 1, stride), BatchNorm(outputs))
            unchanged = (inputs, stride) == (outputs, 1)
            stage_of_blocks.append(around(body, None if unchanged else projection))
            inputs = outputs
        layers[f"layer{stage}"] = Sequential(*stage_of_blocks)
    fc = Affine(inputs, num_classes, initializer=initializer, rng=rng)
    return Sequential(**layers, avgpool=GlobalAveragePooling(), fc=fc)


def basic(conv: "partial[Conv]", inputs: int, channels: int, stride: int) -> Sequential:
    """Two 3x3 convolutions, the first with the stride: figure 5, left."""
    return Sequential(
        conv1=conv(inputs, channels, 3, stride, 1), bn1=BatchNorm(channels), relu=ReLU(),
        conv2=conv(channels, channels, 3, 1, 1), bn2=BatchNorm(channels),
    )  # fmt: skip


def bottleneck(
    conv: "partial[Conv]", inputs: int, channels: int, stride: int, paper_stride: bool
) -> Sequential:
    """1x1 narrows, 3x3, 1x1 widens fourfold: figure 5, right."""
    first, second = (stride, 1) if paper_stride else (1, stride)
    return Sequential(
        conv1=conv(inputs, channels, 1, first), bn1=BatchNorm(channels), relu1=ReLU(),
        conv2=conv(channels, channels, 3, second, 1), bn2=BatchNorm(channels), relu2=ReLU(),
        conv3=conv(channels, 4 * channels, 1), bn3=BatchNorm(4 * channels),
    )  # fmt: skip


def around(body: Layer, shortcut: Layer | None) -> Sequential:
    """The body and its shortcut added, then ReLU."""
    return Sequential(residual=Residual(body, shortcut), relu=ReLU())


def resnet18(num_classes: int = 1000, rng: Seed = None, **options: Unpack[ResNetOptions]) -> Layer:
    """`resnet` of 18 layers: 11,689,512 parameters."""
    return resnet(18, num_classes, rng, **options)


def resnet34(num_classes: int = 1000, rng: Seed = None, **options: Unpack[ResNetOptions]) -> Layer:
    """`resnet` of 34 layers: 21,797,672 parameters."""
    return resnet(34, num_classes, rng, **options)


def resnet50(num_classes: int = 1000, rng: Seed = None, **options: Unpack[ResNetOptions]) -> Layer:
    """`resnet` of 50 layers: 25,557,032 parameters."""
    return resnet(50, num_classes, rng, **options)


def resnet101(num_classes: int = 1000, rng: Seed = None, **options: Unpack[ResNetOptions]) -> Layer:
    """`resnet` of 101 layers: 44,549,160 parameters."""
    return resnet(101, num_classes, rng, **options)


def resnet152(num_classes: int = 1000, rng: Seed = None, **options: Unpack[ResNetOptions]) -> Layer:
    """`resnet` of 152 layers: 60,192,808 parameters."""
    return resnet(152, num_classes, rng, **options)
