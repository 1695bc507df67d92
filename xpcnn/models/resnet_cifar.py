"""Residual networks for small images: three stages of 16, 32 and 64 channels."""

from functools import partial
from typing import Unpack

from xpcnn.errors import ShapeError
from xpcnn.errors.checks import whole
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
    Sequential,
)
from xpcnn.models.options import Options, check_options, scaled
from xpcnn.models.resnet import around, basic
from xpcnn.random import Seed, default_rng


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

    He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2. Where the width
    doubles, the shortcut takes every other pixel and adds channels of zeros (option A): it has nothing to learn.
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


def resnet20(num_classes: int = 10, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """`resnet_cifar` of 20 layers: 269,722 parameters."""
    return resnet_cifar(20, num_classes, rng, **options)


def resnet32(num_classes: int = 10, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """`resnet_cifar` of 32 layers: 464,154 parameters."""
    return resnet_cifar(32, num_classes, rng, **options)


def resnet44(num_classes: int = 10, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """`resnet_cifar` of 44 layers: 658,586 parameters."""
    return resnet_cifar(44, num_classes, rng, **options)


def resnet56(num_classes: int = 10, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """`resnet_cifar` of 56 layers: 853,018 parameters."""
    return resnet_cifar(56, num_classes, rng, **options)


def resnet110(num_classes: int = 10, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """`resnet_cifar` of 110 layers: 1,727,962 parameters."""
    return resnet_cifar(110, num_classes, rng, **options)
