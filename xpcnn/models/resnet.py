"""Residual networks, for ImageNet and for CIFAR: each block learns what to add to its input."""

from collections.abc import Callable
from functools import partial

from xpcnn.errors import ShapeError
from xpcnn.errors.checks import flag, whole
from xpcnn.initializers import Initializer, he_normal
from xpcnn.layers import (
    Affine,
    BatchNorm,
    Conv,
    GlobalAveragePooling,
    Layer,
    PadChannels,
    Pooling,
    ReLU,
    Residual,
    Sequential,
)
from xpcnn.models.options import Network, check_options, of_depth, scaled
from xpcnn.random import Seed, default_rng

WIDTHS = (64, 128, 256, 512)
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks in each stage: of two convolutions up to 34 layers, of three ("bottlenecks") from 50 on. Table 1."""


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
    1, figure 5; shortcuts are projections where the shape changes (option B). Images of any size.

    `paper_stride` puts the stride of a bottleneck on its first 1x1 convolution, as in the paper, in place of the 3x3,
    as in torchvision. The number of parameters is the same; the 3x3 then works on a quarter of the pixels.
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


def resnet_cifar(
    depth: int,
    num_classes: int = 10,
    rng: Seed = None,
    *,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    width: float = 1.0,
    initializer: Initializer = he_normal,
) -> Layer:
    """Conv 3x3 - three stages of (depth - 2) / 6 blocks - mean - Affine.

    He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2: three stages of 16,
    32 and 64 channels, for small images. Where the width doubles, the shortcut takes every other pixel and appends
    channels of zeros (option A); it has no parameters.
    """
    check_options(f"resnet{depth}", num_classes, input_shape, width)
    if whole(depth, "depth", "resnet_cifar", 8, fix="pass depth=20, say") % 6 != 2:
        raise ShapeError(f"resnet_cifar: expected a depth of 6 n + 2, got {depth}; pass depth=20, say")
    rng = default_rng(rng)
    conv = partial(Conv, bias=False, initializer=initializer, rng=rng)
    inputs = scaled(16, width)
    layers: dict[str, Layer] = {
        "conv1": conv(input_shape[0], inputs, 3, 1, 1),
        "bn1": BatchNorm(inputs),
        "relu": ReLU(),
    }
    for stage in (1, 2, 3):
        channels, blocks = scaled(8 * 2**stage, width), []
        for block in range((depth - 2) // 6):
            halving = stage > 1 and block == 0
            shortcut = Sequential(Pooling(1, stride=2), PadChannels(channels - inputs)) if halving else None
            blocks.append(around(basic(conv, inputs, channels, 2 if halving else 1), shortcut))
            inputs = channels
        layers[f"layer{stage}"] = Sequential(*blocks)
    fc = Affine(inputs, num_classes, initializer=initializer, rng=rng)
    return Sequential(**layers, avgpool=GlobalAveragePooling(), fc=fc)


def _named(build: Callable[..., Layer], depth: int, parameters: str) -> Network:
    doc = f"`{build.__name__}` of {depth} layers: {parameters} parameters."
    return of_depth(build, depth, f"resnet{depth}", doc)


resnet18 = _named(resnet, 18, "11,689,512")
resnet34 = _named(resnet, 34, "21,797,672")
resnet50 = _named(resnet, 50, "25,557,032")
resnet101 = _named(resnet, 101, "44,549,160")
resnet152 = _named(resnet, 152, "60,192,808")
resnet20 = _named(resnet_cifar, 20, "269,722")
resnet32 = _named(resnet_cifar, 32, "464,154")
resnet44 = _named(resnet_cifar, 44, "658,586")
resnet56 = _named(resnet_cifar, 56, "853,018")
resnet110 = _named(resnet_cifar, 110, "1,727,962")
