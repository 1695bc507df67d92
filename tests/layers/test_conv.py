"""Conv alone: padding, memory formats, groups, the flipped kernel, and an error for every bad input."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import convolve2d, correlate2d
from strategies import assert_close, image_cases, normal, seeds, upload

from xpcnn.backend import to_host
from xpcnn.errors import DtypeError, ShapeError
from xpcnn.layers import Affine, Conv, Flatten, Sequential


def conv(*args, **kwargs):
    """A Conv with random weights and a bias that is not zero."""
    layer = Conv(*args, rng=0, **kwargs)
    rng = np.random.default_rng(1)
    for parameter in layer.parameters():
        parameter.data = upload(rng.standard_normal(parameter.data.shape).astype(np.float32))
    return layer


@given(image_cases(), st.integers(1, 3), st.integers(1, 2), seeds)
def test_the_layer_is_the_definition(backend, case, groups, each, seed):
    (N, C, H, W), window = case
    layer = Conv(
        C * groups, each * groups, window["size"], window["stride"], window["padding"], window["dilation"],
        groups, rounding=window["rounding"], rng=seed,
    ).astype("float64")  # fmt: skip
    layer.bias.data = upload(normal(seed, (each * groups,)))
    x = normal(seed, (N, C * groups, H, W))
    wanted = reference.conv(x, to_host(layer.weight.data), to_host(layer.bias.data), window, groups)
    assert_close(layer(upload(x)), wanted, "float64")


@pytest.mark.parametrize(
    ("padding", "long"),
    [
        (0, ((0, 0), (0, 0))),
        ("valid", ((0, 0), (0, 0))),
        (1, ((1, 1), (1, 1))),
        ((2, 0), ((2, 2), (0, 0))),
        (((0, 1), (2, 3)), ((0, 1), (2, 3))),
        ("same", ((0, 1), (1, 1))),  # 6 rows, stride 2: one row at the end; 5 columns: one on each side
    ],
)
def test_padding(backend, padding, long):
    x = normal(0, (2, 2, 6, 5), dtype="float32")
    layer, bare = conv(2, 3, 3, 2, padding), conv(2, 3, 3, 2)
    by_hand = np.pad(x, ((0, 0), (0, 0), *long))
    assert_close(layer(upload(x)), to_host(bare(upload(by_hand))), "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [{}, {"groups": 2}, {"flip_kernel": True}, {"stride": 2, "padding": "same", "dilation": (1, 2)}],
)
def test_nhwc_is_nchw_transposed(backend, options, dtype):
    nchw = conv(4, 6, (3, 2), **options).astype(dtype)
    nhwc = Conv(4, 6, (3, 2), **options, data_format="NHWC").astype(dtype)
    nhwc.weight.data = nchw.weight.data.transpose(2, 3, 1, 0).copy()  # HWIO
    nhwc.bias.data = nchw.bias.data.copy()
    assert nhwc.weight.data.shape == (3, 2, 4 // options.get("groups", 1), 6)
    x = normal(0, (2, 4, 6, 7), dtype=dtype)
    y, z = nchw(upload(x)), nhwc(upload(x.transpose(0, 2, 3, 1)))
    assert_close(z, to_host(y).transpose(0, 2, 3, 1), dtype)
    assert nhwc.output_shape((6, 7, 4)) == z.shape[1:]
    dy = normal(1, y.shape, dtype=dtype)
    dx, dz = nchw.backward(upload(dy)), nhwc.backward(upload(dy.transpose(0, 2, 3, 1)))
    assert_close(dz, to_host(dx).transpose(0, 2, 3, 1), dtype)
    assert_close(
        nhwc.weight.grad, to_host(nchw.weight.grad).transpose(2, 3, 1, 0), dtype, rtol=1e-4, atol=1e-4
    )
    assert_close(nhwc.bias.grad, to_host(nchw.bias.grad), dtype, rtol=1e-4, atol=1e-4)


def test_one_seed_gives_the_same_filters_in_both_formats():
    nchw, nhwc = Conv(2, 3, 3, rng=0), Conv(2, 3, 3, data_format="NHWC", rng=0)
    assert np.array_equal(nhwc.weight.data, nchw.weight.data.transpose(2, 3, 1, 0))


def test_groups_are_separate_convolutions(backend):
    whole = conv(6, 4, 3, groups=2)
    x = upload(normal(0, (2, 6, 5, 5), dtype="float32"))
    y = whole(x)
    dy = upload(normal(1, y.shape, dtype="float32"))
    dx = whole.backward(dy)
    for g in (0, 1):
        part = Conv(3, 2, 3)
        part.weight.data = whole.weight.data[2 * g : 2 * g + 2].copy()
        part.bias.data = whole.bias.data[2 * g : 2 * g + 2].copy()
        assert_close(part(x[:, 3 * g : 3 * g + 3]), to_host(y[:, 2 * g : 2 * g + 2]), "float32")
        part_dx = part.backward(dy[:, 2 * g : 2 * g + 2])
        assert_close(part_dx, to_host(dx[:, 3 * g : 3 * g + 3]), "float32")
        assert_close(part.weight.grad, to_host(whole.weight.grad[2 * g : 2 * g + 2]), "float32", rtol=1e-4)


@pytest.mark.parametrize(("flip", "scipy"), [(False, correlate2d), (True, convolve2d)])
def test_flip_kernel_is_convolution_as_mathematics_defines_it(backend, flip, scipy):
    layer = conv(2, 1, (3, 2), bias=False, flip_kernel=flip).astype("float64")
    x, (kernels,) = normal(0, (1, 2, 6, 5)), to_host(layer.weight.data)
    wanted = sum(scipy(image, kernel, "valid") for image, kernel in zip(x[0], kernels, strict=True))
    assert_close(layer(upload(x))[0, 0], wanted, "float64")


def test_rounding():
    shapes = {r: Conv(1, 1, 3, 2, rounding=r).output_shape((1, 8, 7)) for r in ("floor", "ceil")}
    assert shapes == {"floor": (1, 3, 3), "ceil": (1, 4, 3)}
    assert Conv(1, 1, 3, 2, rounding="exact").output_shape((1, 7, 7)) == (1, 3, 3)
    with pytest.raises(
        ShapeError, match=r"stride 2 does not divide .*\(height\); pass rounding='floor' or 'ceil'"
    ):
        Conv(1, 1, 3, 2, rounding="exact")(np.zeros((1, 1, 8, 7), np.float32))


def test_parameters_and_their_first_values():
    assert [name for name, _ in Conv(2, 4, 3).named_parameters()] == ["weight", "bias"]
    assert [name for name, _ in Conv(2, 4, 3, bias=False).named_parameters()] == ["weight"]
    layer = Conv(50, 40, 5, groups=2, rng=0)
    assert not layer.bias.data.any()
    assert layer.weight.data.std() == pytest.approx(np.sqrt(2 / (25 * 25)), rel=0.03)
    assert np.array_equal(layer.weight.data, Conv(50, 40, 5, groups=2, rng=0).weight.data)
    ones = Conv(1, 1, 2, initializer=lambda shape, rng: np.ones(shape, np.float32))
    assert ones.weight.data.tolist() == [[[[1, 1], [1, 1]]]]


def test_multiply_adds_by_hand():
    # 6 output channels of 4 x 3 pixels, each over 2 channels of 3 x 2
    assert Conv(4, 6, (3, 2), groups=2).multiply_adds((4, 6, 4)) == 6 * 4 * 3 * (2 * 3 * 2)
    assert Conv(4, 6, (3, 2), groups=2, data_format="NHWC").multiply_adds((6, 4, 4)) == 6 * 4 * 3 * (
        2 * 3 * 2
    )


IMAGE = np.zeros((8, 3, 9, 9), np.float32)


@pytest.mark.parametrize(
    ("layer", "x", "error", "message"),
    [
        (
            Conv(3, 64, 3), IMAGE[:, :1], ShapeError,
            "Conv(3, 64, 3): expected 3 channels, got 1 in (8, 1, 9, 9); pass in_channels=1",
        ),
        (
            Conv(3, 4, 3, data_format="NHWC"), IMAGE, ShapeError,
            "Conv(3, 4, 3, data_format='NHWC'): expected 3 channels, got 9 in (8, 3, 9, 9); pass in_channels=9",
        ),
        (
            Conv(3, 4, 3), IMAGE[0], ShapeError,
            "Conv(3, 4, 3): expected a batch of images, (N, C, H, W), got shape (3, 9, 9); pass x[None] for a batch",
        ),
        (
            Conv(3, 4, 3), IMAGE.reshape(8, -1), ShapeError,
            "Conv(3, 4, 3): expected a batch of images, (N, C, H, W), got shape (8, 243); pass x.reshape to four axes",
        ),
        (
            Conv(3, 4, 3), IMAGE.astype(np.float64), DtypeError,
            "Conv(3, 4, 3): expected float32 like its weight, got float64; "
            "pass x.astype('float32'), or convert the model: model.astype('float64')",
        ),
        (
            Conv(3, 4, 3), IMAGE.astype(np.uint8), DtypeError,
            "Conv(3, 4, 3): expected float32 like its weight, got uint8; pass x.astype('float32') / 255 for",
        ),
        (
            Conv(3, 4, 3), IMAGE.astype(np.int64), DtypeError, "got int64; pass x.astype('float32')",
        ),
        (
            Conv(3, 4, 11, padding=(1, 0)), IMAGE, ShapeError,
            "expected a width of at least 11, got 9; pass a smaller kernel_size, a smaller dilation or more padding",
        ),
        (Conv(3, 4, 11), IMAGE, ShapeError, "Conv(3, 4, 11): "),
        (Conv(3, 4, 3), IMAGE.tolist(), DtypeError, "Conv(3, 4, 3): expected a numpy.ndarray, got list"),
        (Conv(3, 4, 3), None, DtypeError, "Conv(3, 4, 3): expected a numpy.ndarray, got NoneType"),
    ],
)  # fmt: skip
def test_bad_input(layer, x, error, message):
    with pytest.raises(error) as caught:
        layer(x)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 9), "expected one image, (C, H, W), got (3, 9); put it before Flatten"),
        ((1, 9, 9), "expected 3 channels, got 1 in (1, 9, 9); pass in_channels=1"),
        ((3, 9, 2), "expected a width of at least 3, got 2"),
    ],
)
def test_invalid_shapes(shape, message):
    with pytest.raises(ShapeError) as caught:
        Conv(3, 4, 3).output_shape(shape)
    assert message in str(caught.value)
    assert str(caught.value).startswith("Conv(3, 4, 3): ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "Conv: in_channels must be at least 1, got 0"),
        ({"out_channels": -1}, "Conv: out_channels must be at least 1, got -1"),
        ({"groups": 0}, "Conv: groups must be at least 1, got 0"),
        ({"groups": 4}, "groups must divide both in_channels and out_channels; pass one of [1, 2, 3, 6]"),
        (
            {"out_channels": 8, "groups": 3},
            "groups must divide both in_channels and out_channels; pass one of [1, 2]",
        ),
        ({"data_format": "CHWN"}, "Conv: data_format must be 'NCHW' or 'NHWC', got 'CHWN'"),
        ({"kernel_size": 0}, "kernel_size: expected an int or a (height, width) of at least 1, got 0"),
        ({"stride": (1, 0)}, "stride: expected"),
        ({"padding": -1}, "padding: expected"),
        ({"dilation": 0.5}, "dilation: expected"),
        ({"rounding": "up"}, "rounding: expected 'floor', 'ceil' or 'exact', got 'up'"),
    ],
)
def test_bad_construction(arguments, message):
    with pytest.raises(ShapeError) as caught:
        Conv(**{"in_channels": 6, "out_channels": 12, "kernel_size": 3} | arguments)
    assert message in str(caught.value)


def test_in_a_model_the_message_names_the_layer_that_refused():
    model = Sequential(Conv(1, 2, 3), Conv(3, 2, 3), Flatten(), Affine(10, 2))
    with pytest.raises(ShapeError, match=r"^Conv\(3, 2, 3\): expected 3 channels, got 2"):
        model(np.zeros((1, 1, 9, 9), np.float32))
