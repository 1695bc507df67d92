"""One check of axes, channels and sizes for all layers: each layer calls it, in forward and in output_shape."""

import numpy as np
import pytest

from xpcnn.errors import DtypeError, HyperparameterError, ShapeError
from xpcnn.layers import (
    Affine,
    BatchNorm,
    Conv,
    ConvTranspose,
    GlobalAveragePooling,
    GlobalMaxPooling,
    GroupNorm,
    Identity,
    LayerNorm,
    LocalResponseNorm,
    PadChannels,
    Pooling,
    Product,
    Residual,
    Sum,
    Upsample,
)

OF_IMAGES = [
    Conv(3, 2, 1),
    Conv(3, 2, 1, data_format="NHWC"),
    ConvTranspose(3, 2, 1),
    Pooling(1),
    Pooling(1, mode="average"),
    GlobalAveragePooling(),
    GlobalMaxPooling(),
    Upsample(2),
]
WITH_CHANNELS = [Conv(3, 2, 1), ConvTranspose(3, 2, 1), BatchNorm(3), GroupNorm(1, 3)]
OF_CHANNELS = [BatchNorm(3), GroupNorm(1, 3), LocalResponseNorm(3), PadChannels(3)]


def zeros(*shape, dtype="float32"):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize("layer", OF_IMAGES, ids=repr)
@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 4, 4), (2, 3, 4, 4, 4)])
def test_layers_of_images_refuse_other_axes(layer, shape):
    with pytest.raises(ShapeError, match=r"expected a batch of images, \(N, .*, got shape \(.*\); pass x"):
        layer(zeros(*shape))
    if len(shape) != 3:
        with pytest.raises(
            ShapeError, match=r"expected one image, \(.*, got \(.*\); put it before Flatten, and"
        ):
            layer.output_shape(shape)


@pytest.mark.parametrize("layer", OF_IMAGES, ids=repr)
def test_layers_of_images_refuse_integers(layer):
    x = zeros(2, 4, 4, 3, dtype="uint8") if "NHWC" in repr(layer) else zeros(2, 3, 4, 4, dtype="uint8")
    with pytest.raises(DtypeError, match=r"got uint8; pass x.astype\('float32'\)"):
        layer(x)


@pytest.mark.parametrize("layer", WITH_CHANNELS, ids=repr)
def test_layers_refuse_other_channels(layer):
    for use in (lambda: layer(zeros(2, 5, 4, 4)), lambda: layer.output_shape((5, 4, 4))):
        with pytest.raises(ShapeError, match=r"expected 3 channels, got 5 in \(.*\); pass (in_)?channels=5"):
            use()


@pytest.mark.parametrize("layer", OF_CHANNELS, ids=repr)
def test_layers_of_channels_refuse_an_input_without(layer):
    for use in (lambda: layer(zeros(3)), lambda: layer.output_shape(())):
        with pytest.raises(
            ShapeError, match=r"expected \(N, C, ...\), got shape .*; pass x\[None\] for a batch of one"
        ):
            use()


def test_the_advice_fits_gray_images_and_channels_in_the_last_axis():
    with pytest.raises(
        ShapeError, match=r"got shape \(8, 28, 28\); pass x\[:, None\] for images of one channel"
    ):
        Conv(1, 2, 3)(zeros(8, 28, 28))
    with pytest.raises(ShapeError, match=r"got shape \(3, 28, 28\); pass x\[None\] for a batch of one"):
        Conv(3, 2, 3)(zeros(3, 28, 28))
    with pytest.raises(ShapeError, match=r"got 28 in \(8, 28, 28, 3\); pass x.transpose\(0, 3, 1, 2\) if"):
        Conv(3, 2, 3)(zeros(8, 28, 28, 3))
    for advised in (zeros(8, 28, 28)[:, None], zeros(8, 28, 28, 1).transpose(0, 3, 1, 2)):
        assert Conv(1, 2, 3)(advised).shape == (8, 2, 26, 26)


@pytest.mark.parametrize("make", [Sum, Residual, Product], ids=lambda make: make.__name__)
def test_branches_of_other_batches_are_not_broadcast(make):
    with pytest.raises(
        ShapeError, match=r"branches give batches of \[1, 3\] samples; pass inputs of one size"
    ):
        make(Identity(), Identity())((zeros(1, 4), zeros(3, 4)))


def narrow(shape, rng):
    return np.zeros((1, *shape[1:]), np.float32)


def not_finite(shape, rng):
    return np.full(shape, np.nan, np.float32)


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: Affine(3, 2, **options),
        lambda **options: Conv(3, 2, 1, **options),
        lambda **options: ConvTranspose(3, 2, 1, **options),
    ],
    ids=["Affine", "Conv", "ConvTranspose"],
)
def test_what_an_initializer_draws_is_checked(make):
    with pytest.raises(ShapeError, match=r"expected its initializer to draw \(.*\), got \(1, "):
        make(initializer=narrow)
    with pytest.raises(HyperparameterError, match="expected its initializer to draw finite numbers, got nan"):
        make(initializer=not_finite)
    with pytest.raises(DtypeError, match="expected its initializer to draw a floating NumPy array, got list"):
        make(initializer=lambda shape, rng: [0.0])
    with pytest.raises(DtypeError, match="expected bias to be True or False, got 'no'"):
        make(bias="no")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GroupNorm(1.0, 4), "groups must be at least 1 and a whole number, got 1.0"),
        (lambda: GroupNorm(0, 4), "groups must be at least 1, got 0"),
        (lambda: LayerNorm(2.5), "expected sizes of at least 1, got 2.5"),
        (lambda: LayerNorm((4, True)), "expected sizes of at least 1"),
        (lambda: ConvTranspose(4, 2.0, 3), "out_channels must be at least 1 and a whole number, got 2.0"),
        (lambda: ConvTranspose(4, 2, 3, 2, output_padding=0.5), "output_padding: expected an int"),
        (lambda: Upsample(1.5), "scale: expected an int or a .* of at least 1, got 1.5"),
        (lambda: Upsample((2, 2, 2)), "scale: expected an int or a"),
    ],
)
def test_sizes_are_whole_numbers(make, message):
    with pytest.raises(ShapeError, match=message):
        make()
