"""A factor and a bias for each channel, and channels of zeros, by hand."""

import numpy as np
import pytest
from strategies import assert_close, normal

from xpcnn.backend import to_device, to_host
from xpcnn.errors import DtypeError, ShapeError
from xpcnn.layers import ChannelScale, PadChannels, Pooling, Scale, Sequential

pytestmark = pytest.mark.usefixtures("backend")


def test_scale_after_an_average_is_subsampling():
    layer, x = (
        Sequential(Pooling(2, mode="average"), Scale(2)),
        normal(0, (1, 2, 4, 4), dtype="float32"),
    )
    layer[1].weight.data[...] = to_device(np.float32([2, -1]))
    layer[1].bias.data[...] = to_device(np.float32([0.5, 0.25]))
    sums = x.reshape(1, 2, 2, 2, 2, 2).sum(axis=(3, 5))
    expected = sums / 4 * np.float32([2, -1]).reshape(2, 1, 1) + np.float32([0.5, 0.25]).reshape(2, 1, 1)
    assert_close(layer(to_device(x)), expected, "float32")


def test_option_a_takes_every_other_pixel_and_adds_zeros():
    x = normal(0, (2, 3, 5, 5), dtype="float32")
    y = to_host(Sequential(Pooling(1, stride=2), PadChannels(3))(to_device(x)))
    assert np.array_equal(y[:, :3], x[:, :, ::2, ::2])
    assert y.shape == (2, 6, 3, 3)
    assert not y[:, 3:].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scale(0), "channels must be at least 1, got 0"),
        (lambda: PadChannels(-1), "extra must be at least 0"),
        (lambda: Scale(3).output_shape((2, 4, 4)), "expected 3 channels, got 2"),
        (lambda: PadChannels(3).output_shape(()), "channel axis"),
    ],
)  # fmt: skip
def test_invalid_arguments_are_refused(make, message):
    with pytest.raises(ShapeError, match=message):
        make()


def test_another_dtype_is_refused():
    x = to_device(np.zeros((1, 3)))
    with pytest.raises(DtypeError, match="expected float32"):
        Scale(3)(x)


def test_the_name_of_version_0_1_is_the_same_layer():
    assert ChannelScale is Scale
    assert str(ChannelScale(3)) == "Scale(3)"
