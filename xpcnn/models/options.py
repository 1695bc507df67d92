"""What the larger networks have in common: their options, and the two sums behind them."""

import math
from typing import TypedDict

from xpcnn.errors import ShapeError
from xpcnn.errors.checks import number, whole
from xpcnn.initializers import Initializer
from xpcnn.layers import Layer


class Options(TypedDict, total=False):
    """Keywords of every network of this folder that has a width.

    Attributes
    ----------
    input_shape : (channels, height, width)
        Of one image. A classifier of affine layers is built to match; a network that halves its images more
        often than they can be halved is a ShapeError.
    width : float
        Multiplies every number of channels and of hidden units: 1 is the paper's network, 1/16 is for tests.
    initializer : function of (shape, rng)
        Draws the weights; `xpcnn.initializers.zeros` is for counting them.
    """

    input_shape: tuple[int, int, int]
    width: float
    initializer: Initializer


def check_options(network: str, num_classes: object, input_shape: object, width: object = 1.0) -> None:
    """Raise ShapeError for a number of classes or an image that cannot be, HyperparameterError for a width."""
    whole(num_classes, "num_classes", network, fix="pass num_classes=10, say")
    number(width, "width", network, above=0, fix="1 is the paper's network, 1/16 is for tests")
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3:
        raise ShapeError(
            f"{network}: input_shape must be (channels, height, width), got {input_shape!r}; pass (3, 224, 224), say"
        )
    for length in input_shape:
        whole(length, "input_shape", network, fix="pass (3, 224, 224), say")


def scaled(channels: int, width: float, multiple: int = 1) -> int:
    """Return width times as many channels, rounded to a multiple, at least one.

    >>> scaled(64, 1 / 16), scaled(96, 1 / 64, multiple=2)
    (4, 2)
    """
    return max(1, round(channels * width / multiple)) * multiple


def flat_size(features: Layer, input_shape: tuple[int, int, int], name: str) -> int:
    """Return how many numbers `features` makes of one image.

    Raises
    ------
    ShapeError
        If the images are too small for the network called `name`.
    """
    try:
        return math.prod(features.output_shape(input_shape))
    except ShapeError as error:
        raise ShapeError(
            f"{name} does not fit images of {tuple(input_shape)} ({error}); pass larger images, (3, 224, 224) for "
            "instance, or take a network for small ones: simple, deep, lenet5 or resnet20"
        ) from error
