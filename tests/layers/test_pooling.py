"""Pooling and GlobalAveragePooling alone."""

import numpy as np
import pytest
import reference
from strategies import assert_close, distinct, normal, upload

from xpcnn.backend import to_host
from xpcnn.errors import DtypeError, ShapeError
from xpcnn.layers import GlobalAveragePooling, Pooling

IMAGE = np.zeros((2, 3, 6, 6), np.float32)
WINDOW = {"dilation": (1, 1), "padding": ((0, 0), (0, 0)), "rounding": "floor"}


def test_the_default_stride_is_the_kernel_size(backend):
    x = distinct(0, (2, 3, 7, 7), "float32")
    for layer, size, stride in ((Pooling(2), 2, 2), (Pooling((3, 2)), (3, 2), (3, 2)), (Pooling(3, 2), 3, 2)):
        window = WINDOW | {"size": np.broadcast_to(size, 2), "stride": np.broadcast_to(stride, 2)}
        assert_close(layer(upload(x)), reference.max_pool(x, window)[0], "float32")
        assert layer.output_shape((3, 7, 7)) == layer(upload(x)).shape[1:]


def test_modes_by_hand(backend):
    x = upload(np.array([[1, 2, 5, 6], [3, 4, 7, 8]], np.float32)[None, None])
    assert to_host(Pooling(2)(x)).tolist() == [[[[4, 8]]]]
    assert to_host(Pooling(2, mode="average")(x)).tolist() == [[[[2.5, 6.5]]]]
    # one pixel of the image and three of padding in each corner
    corners = {False: [[1, 3.5, 6], [3, 5.5, 8]], True: [[0.25, 1.75, 1.5], [0.75, 2.75, 2]]}
    for count_include_pad, wanted in corners.items():
        layer = Pooling(2, 2, 1, "average", count_include_pad=count_include_pad)
        assert to_host(layer(x)).tolist() == [[wanted]]


def test_overlapping_windows_add_their_gradients(backend):
    layer = Pooling(3, 1)
    x = np.zeros((1, 1, 3, 5), np.float32)
    x[0, 0, 1, 2] = 1  # in all three windows
    layer(upload(x))
    dx = layer.backward(upload(np.array([[[[1.0, 2.0, 4.0]]]], np.float32)))
    assert_close(dx, 7 * x, "float32", rtol=0, atol=0)


def test_ceil_never_counts_pixels_beyond_the_padding(backend):
    x = upload(np.ones((1, 1, 5, 5), np.float32))
    for count_include_pad in (False, True):
        layer = Pooling(2, mode="average", rounding="ceil", count_include_pad=count_include_pad)
        assert_close(layer(x), np.ones((1, 1, 3, 3)), "float32")


@pytest.mark.parametrize("rounding", ["floor", "ceil"])
@pytest.mark.parametrize("mode", ["max", "average"])
def test_pytorch(torch, mode, rounding):
    kind = {"max": torch.nn.MaxPool2d, "average": torch.nn.AvgPool2d}[mode]
    options = {} if mode == "max" else {"count_include_pad": False}
    theirs = kind(3, 2, 1, ceil_mode=rounding == "ceil", **options)
    x = normal(0, (2, 3, 8, 7), dtype="float32")
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    layer = Pooling(3, 2, 1, mode, rounding)
    y = layer(x)
    assert_close(y, ty.detach().numpy(), "float32")
    ty.backward(torch.tensor(y * 2))
    assert_close(layer.backward(y * 2), tx.grad.numpy(), "float32")


def test_global_average(backend):
    x = normal(0, (2, 3, 4, 5), dtype="float32")
    layer = GlobalAveragePooling()
    assert_close(layer(upload(x)), x.astype(np.float64).mean(axis=(2, 3)), "float32")
    dy = normal(1, (2, 3), dtype="float32")
    wanted = np.broadcast_to(dy[:, :, None, None] / 20, x.shape)
    assert_close(layer.backward(upload(dy)), wanted, "float32")
    assert layer.output_shape((3, 4, 5)) == (3,)


@pytest.mark.parametrize(
    ("layer", "x", "error", "message"),
    [
        (
            Pooling(2),
            IMAGE[0],
            ShapeError,
            "Pooling(2): expected a batch of images, (N, C, H, W), got shape (3, 6, 6)",
        ),
        (
            Pooling(2),
            IMAGE.astype(np.uint8),
            DtypeError,
            "Pooling(2): expected floating-point images, got uint8",
        ),
        (Pooling(7), IMAGE, ShapeError, "Pooling(7): "),
        (Pooling(7), IMAGE, ShapeError, "expected a height of at least 7, got 6; pass a smaller kernel_size"),
        (Pooling(4, rounding="exact"), IMAGE, ShapeError, "stride 4 does not divide"),
        (GlobalAveragePooling(), IMAGE[0], ShapeError, "GlobalAveragePooling(): expected a batch of images"),
        (
            GlobalAveragePooling(),
            IMAGE.astype(int),
            DtypeError,
            "GlobalAveragePooling(): expected floating-point",
        ),
    ],
)
def test_bad_input(layer, x, error, message):
    with pytest.raises(error) as caught:
        layer(x)
    assert message in str(caught.value)


@pytest.mark.parametrize("layer", [Pooling(2), GlobalAveragePooling()])
def test_invalid_shapes(layer):
    with pytest.raises(
        ShapeError, match=r"expected one image, \(C, H, W\), got \(10,\); put it before Flatten"
    ):
        layer.output_shape((10,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "mean"}, "Pooling: mode must be 'max' or 'average', got 'mean'"),
        ({"padding": 2}, "padding 2 must be smaller than the kernel's 2, or a window would hold padding only; pass "),
        ({"padding": ((0, 0), (0, 2))}, "must be smaller than the kernel's 2"),
        ({"stride": 0}, "stride: expected an int"),
        ({"kernel_size": -1}, "kernel_size: expected an int"),
    ],
)  # fmt: skip
def test_bad_construction(arguments, message):
    with pytest.raises(ShapeError) as caught:
        Pooling(**{"kernel_size": 2} | arguments)
    assert message in str(caught.value)
