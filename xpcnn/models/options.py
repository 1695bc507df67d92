"""What the networks share: their options, the sizes that follow from them, and a network for each depth of a family."""

import inspect
import math
from collections.abc import Callable
from typing import Any, Protocol, TypedDict

from xpcnn.errors import ShapeError
from xpcnn.errors.checks import number, whole
from xpcnn.initializers import Initializer
from xpcnn.layers import Layer
from xpcnn.random import Seed


class Options(TypedDict, total=False):
    """Keywords of every network of this folder that has a width.

    Attributes
    ----------
    input_shape : (channels, height, width)
        Of one image. A classifier of affine layers is built for this size; images too small for the network are a
        ShapeError.
    width : float
        Factor of all numbers of channels and hidden units: 1 is the paper's network, 1/16 is for tests.
    initializer : function of (shape, rng)
        Draws the weights; `xpcnn.initializers.zeros` is for counting them.
    """

    input_shape: tuple[int, int, int]
    width: float
    initializer: Initializer


def check_options(network: str, num_classes: object, input_shape: object, width: object = 1.0) -> None:
    """Raise ShapeError for an impossible number of classes or image shape, HyperparameterError for a width."""
    whole(num_classes, "num_classes", network, fix="pass num_classes=10, say")
    number(width, "width", network, above=0, fix="1 is the paper's network, 1/16 is for tests")
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3:
        raise ShapeError(
            f"{network}: input_shape must be (channels, height, width), got {input_shape!r}; pass (3, 224, 224), say"
        )
    for length in input_shape:
        whole(length, "input_shape", network, fix="pass (3, 224, 224), say")


def scaled(channels: int, width: float, multiple: int = 1) -> int:
    """Return width * channels, rounded to a multiple of `multiple` and at least that.

    >>> scaled(64, 1 / 16), scaled(96, 1 / 64, multiple=2)
    (4, 2)
    """
    return max(1, round(channels * width / multiple)) * multiple


def flat_size(features: Layer, input_shape: tuple[int, int, int], name: str) -> int:
    """Return the number of elements that `features` computes from one image.

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


class Network(Protocol):
    """A function that builds a network: the number of classes, the seed of the weights, and `Options`."""

    __name__: str

    def __call__(self, num_classes: int = ..., rng: Seed = None, **options: Any) -> Layer:
        """Return the network."""


def of_depth(build: Callable[..., Layer], depth: int, name: str, doc: str, **settings: Any) -> Network:
    """Return the network called `name`: `build` with its depth and these settings fixed."""
    classes = inspect.signature(build).parameters["num_classes"].default

    def network(num_classes: int = classes, rng: Seed = None, **options: Any) -> Layer:
        return build(depth, num_classes, rng, **settings, **options)

    network.__name__ = network.__qualname__ = name
    network.__module__, network.__doc__ = build.__module__, doc
    return network
