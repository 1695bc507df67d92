"""Networks, one file for each paper; each network is a function that returns a Layer.

It is called as ``network(num_classes, rng, *, input_shape=...)``; those with a width take `models.options.Options` too.
"""

from collections.abc import Callable

from xpcnn.layers import Layer
from xpcnn.models.alexnet import alexnet, alexnet_one_stream, alexnet_torchvision
from xpcnn.models.deep import deep
from xpcnn.models.googlenet import googlenet, googlenet_torchvision
from xpcnn.models.lenet5 import lenet5
from xpcnn.models.lenet5_1998 import lenet5_1998
from xpcnn.models.resnet import (
    resnet18,
    resnet20,
    resnet32,
    resnet34,
    resnet44,
    resnet50,
    resnet56,
    resnet101,
    resnet110,
    resnet152,
)
from xpcnn.models.simple import simple
from xpcnn.models.vgg import vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn

__all__ = [  # noqa: RUF022 - family by family
    "BY_NAME",
    "simple", "deep", "lenet5", "lenet5_1998",
    "alexnet", "alexnet_one_stream", "alexnet_torchvision",
    "vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn",
    "googlenet", "googlenet_torchvision",
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
    "resnet20", "resnet32", "resnet44", "resnet56", "resnet110",
]  # fmt: skip

BY_NAME: dict[str, Callable[..., Layer]] = {name: globals()[name] for name in __all__[1:]}
"""Every network by its name, in the order of docs/models.md."""


def __dir__() -> list[str]:
    return __all__
