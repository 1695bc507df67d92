"""Networks, one file a paper; each is a function that returns a Layer.

``network(num_classes, rng, *, input_shape=...)``, and for those with a width, `models.options.Options`.
"""

from collections.abc import Callable

from xpcnn.layers import Layer
from xpcnn.models.alexnet import alexnet, alexnet_one_stream, alexnet_torchvision
from xpcnn.models.deep import deep
from xpcnn.models.googlenet import googlenet, googlenet_torchvision
from xpcnn.models.lenet5 import lenet5, lenet5_1998
from xpcnn.models.resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from xpcnn.models.resnet_cifar import resnet20, resnet32, resnet44, resnet56, resnet110
from xpcnn.models.simple import simple
from xpcnn.models.vgg import vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn

BY_NAME: dict[str, Callable[..., Layer]] = {
    network.__name__: network
    for network in (
        simple, deep, lenet5, lenet5_1998,
        alexnet, alexnet_one_stream, alexnet_torchvision,
        vgg11, vgg13, vgg16, vgg19, vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn,
        googlenet, googlenet_torchvision,
        resnet18, resnet34, resnet50, resnet101, resnet152,
        resnet20, resnet32, resnet44, resnet56, resnet110,
    )
}  # fmt: skip

__all__ = [
    "BY_NAME",
    "alexnet",
    "alexnet_one_stream",
    "alexnet_torchvision",
    "deep",
    "googlenet",
    "googlenet_torchvision",
    "lenet5",
    "lenet5_1998",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet110",
    "resnet152",
    "simple",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
]
