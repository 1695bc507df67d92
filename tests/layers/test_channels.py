"""Factors, zeros, tables and distances: the layers of LeNet-5 and of option A, by hand."""

import numpy as np
import pytest
from strategies import assert_close, normal

from xpcnn.backend import to_device, to_host
from xpcnn.errors import DtypeError, ShapeError
from xpcnn.layers import ChannelScale, Conv, PadChannels, PartialConv, Pooling, RadialBasis, Sequential

pytestmark = pytest.mark.usefixtures("backend")


def test_channel_scale_after_an_average_is_subsampling():
    layer, x = (
        Sequential(Pooling(2, mode="average"), ChannelScale(2)),
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


def test_a_partial_convolution_is_a_convolution_with_zeros():
    table = [(0, 1), (3,), (3, 0, 2)]
    layer, dense = PartialConv(4, table, 3, 2, 1, rng=0), Conv(4, 3, 3, 2, 1, rng=1)
    weight, at = np.zeros((3, 4, 3, 3), np.float32), 0
    for output, inputs in enumerate(table):
        for c in inputs:
            weight[output, c] = to_host(layer.weight.data)[at]
            at += 1
    dense.weight.data[...] = to_device(weight)
    x, dy = (to_device(a) for a in normal(2, (2, 4, 6, 6), (2, 3, 3, 3), dtype="float32"))
    assert_close(layer(x), to_host(dense(x)), "float32")
    assert_close(layer.backward(dy), to_host(dense.backward(dy)), "float32")
    taken = to_host(dense.weight.grad)[[0, 0, 1, 2, 2, 2], [0, 1, 3, 3, 0, 2]]
    assert_close(layer.weight.grad, taken, "float32")
    assert (len(layer.parameters()), layer.weight.data.size, layer.multiply_adds((4, 6, 6))) == (
        2,
        54,
        54 * 9,
    )


def test_each_output_has_its_own_fan_in():
    drawn = []

    def initializer(shape, rng):
        drawn.append(shape)
        return np.zeros(shape, np.float32)

    PartialConv(3, [(0,), (0, 1, 2)], 5, initializer=initializer)
    assert drawn == [(1, 1, 5, 5), (1, 3, 5, 5)]


def test_the_nearest_center_has_the_largest_output():
    layer = RadialBasis(84, 10, rng=0)
    centers = to_host(layer.centers.data)
    assert set(np.unique(centers)) == {-1, 1}
    y = to_host(layer(layer.centers.data[:4] + np.float32(0.1)))
    assert (y.argmax(axis=1) == range(4)).all()
    np.testing.assert_allclose(y.max(axis=1), -84 * 0.01, rtol=1e-4)
    assert not layer.parameters()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ChannelScale(0), "channels must be at least 1, got 0"),
        (lambda: PadChannels(-1), "extra must be at least 0"),
        (lambda: PartialConv(3, [(0,), ()], 3), r"output 1 must see at least one of the inputs 0 to 2, .* got \(\)"),
        (lambda: PartialConv(3, [(0, 3)], 3), r"inputs 0 to 2, each once, got \(0, 3\)"),
        (lambda: PartialConv(3, [(1, 1)], 3), "each once"),
        (lambda: PartialConv(3, [], 3), "an empty table"),
        (lambda: RadialBasis(0, 3), "in_features must be at least 1"),
        (lambda: ChannelScale(3).output_shape((2, 4, 4)), "expected 3 channels, got 2"),
        (lambda: PartialConv(3, [(0,)], 3).output_shape((2, 4, 4)), "pass in_channels=2 and a table"),
        (lambda: RadialBasis(3, 2).output_shape((3, 1)), "put Flatten"),
        (lambda: PadChannels(3).output_shape(()), "channel axis"),
    ],
)  # fmt: skip
def test_invalid_arguments_are_refused(make, message):
    with pytest.raises(ShapeError, match=message):
        make()


def test_another_dtype_is_refused():
    x = to_device(np.zeros((1, 3)))
    for layer in (ChannelScale(3), RadialBasis(3, 2)):
        with pytest.raises(DtypeError, match="expected float32"):
            layer(x)
