"""GoogLeNet: windows of several sizes in parallel, twenty-two layers with seven million parameters."""

from collections.abc import Callable
from functools import partial
from typing import Unpack

from xpcnn.errors.checks import flag
from xpcnn.initializers import Initializer, he_normal
from xpcnn.layers import (
    Affine,
    Auxiliary,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    GlobalAveragePooling,
    Layer,
    LocalResponseNorm,
    Parallel,
    Pooling,
    ReLU,
    Sequential,
)
from xpcnn.models.options import Options, check_options, flat_size, scaled
from xpcnn.random import Seed, default_rng

TABLE_1 = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Channels of each module: 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; pool projection."""

Unit = Callable[..., Sequential]


def googlenet(
    num_classes: int = 1000, rng: Seed = None, *, auxiliary: bool = False, **options: Unpack[Options]
) -> Layer:
    """Nine Inception modules: 6,998,552 parameters, 13,378,280 with the auxiliary heads.

    Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 5, figures 2 and 3, table 1. `auxiliary` adds
    two heads after the modules 4a and 4d; the network then returns a list in training, and its loss is
    `losses.AuxiliaryCrossEntropy`, which weighs the heads by 0.3. They need images of about 224 x 224 pixels.
    """
    return _googlenet("googlenet", False, auxiliary, num_classes, rng, **options)


def googlenet_torchvision(num_classes: int = 1000, rng: Seed = None, **options: Unpack[Options]) -> Layer:
    """Torchvision's variant: 6,624,904 parameters, no auxiliary heads.

    It has batch normalisation (eps = 0.001) in place of biases and response normalisation, 3x3 windows in place of 5x5,
    a fourth pooling of 2x2, and a dropout rate of 0.2 in place of 0.4.
    """
    return _googlenet("googlenet_torchvision", True, False, num_classes, rng, **options)


def _googlenet(
    name: str,
    torchvision: bool,
    auxiliary: bool,
    num_classes: int,
    rng: Seed,
    *,
    input_shape: tuple[int, int, int] = (3, 224, 224),
    width: float = 1.0,
    initializer: Initializer = he_normal,
) -> Layer:
    check_options(name, num_classes, input_shape, width)
    flag(auxiliary, "auxiliary", name)
    rng = default_rng(rng)
    scale = partial(scaled, width=width)
    affine = partial(Affine, initializer=initializer, rng=rng)

    def unit(inputs: int, outputs: int, size: int, stride: int = 1) -> Sequential:
        conv = Conv(
            inputs, outputs, size, stride, size // 2, bias=not torchvision, initializer=initializer, rng=rng
        )
        if torchvision:
            return Sequential(conv=conv, bn=BatchNorm(outputs, eps=0.001), relu=ReLU())
        return Sequential(conv=conv, relu=ReLU())

    def norm(number: int) -> dict[str, Layer]:
        return {} if torchvision else {f"norm{number}": LocalResponseNorm(5, alpha=5e-4, k=1)}

    layers: dict[str, Layer] = {
        "conv1": unit(input_shape[0], scale(64), 7, stride=2),
        "maxpool1": Pooling(3, 2, rounding="ceil"),
        **norm(1),
        "conv2": unit(scale(64), scale(64), 1),
        "conv3": unit(scale(64), scale(192), 3),
        **norm(2),
        "maxpool2": Pooling(3, 2, rounding="ceil"),
    }
    inputs, wide = scale(192), 3 if torchvision else 5
    for module, widths in TABLE_1.items():
        layers[f"inception{module}"] = _inception(unit, inputs, tuple(map(scale, widths)), wide)
        inputs = sum(scale(widths[branch]) for branch in (0, 2, 4, 5))
        if module == "3b":
            layers["maxpool3"] = Pooling(3, 2, rounding="ceil")
        elif module == "4e":
            layers["maxpool4"] = Pooling(2 if torchvision else 3, 2, rounding="ceil")
    layers |= {
        "avgpool": GlobalAveragePooling(),
        "dropout": Dropout(0.2 if torchvision else 0.4, rng=rng),
        "fc": affine(inputs, num_classes),
    }
    whole = Sequential(**layers)
    flat_size(whole, input_shape, name)  # or an error that names the network
    if not auxiliary:
        return whole

    def head(trunk: Layer) -> Sequential:
        """Average pooling 5x5, 1x1 convolution, two affine layers: section 5, its last list."""
        channels = trunk.output_shape(input_shape)[0]
        features = Sequential(pool=Pooling(5, 3, mode="average"), conv=unit(channels, scale(128), 1))
        size = flat_size(Sequential(trunk, features), input_shape, f"{name} with auxiliary heads")
        return Sequential(
            **dict(features.children()), flatten=Flatten(), fc1=affine(size, scale(1024)), relu=ReLU(),
            dropout=Dropout(0.7, rng=rng), fc2=affine(scale(1024), num_classes),
        )  # fmt: skip

    names = list(layers)
    after_4a, after_4d = names.index("inception4a") + 1, names.index("inception4d") + 1
    trunk = (whole[:after_4a], whole[after_4a:after_4d], whole[after_4d:])
    return Auxiliary(trunk, [head(whole[:after_4a]), head(whole[:after_4d])])


def _inception(unit: Unit, inputs: int, widths: tuple[int, ...], wide: int) -> Parallel:
    """1x1; 1x1 then 3x3; 1x1 then `wide`; pooling then 1x1: figure 2(b)."""
    one, reduce3, three, reduce5, five, projection = widths
    return Parallel(
        branch1=unit(inputs, one, 1),
        branch2=Sequential(unit(inputs, reduce3, 1), unit(reduce3, three, 3)),
        branch3=Sequential(unit(inputs, reduce5, 1), unit(reduce5, five, wide)),
        branch4=Sequential(Pooling(3, 1, 1), unit(inputs, projection, 1)),
    )
