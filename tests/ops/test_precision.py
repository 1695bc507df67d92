"""Sums of many terms: over whole images in float32, over more than half precision can count or hold in float16."""

import numpy as np
import pytest
import reference
from strategies import normal, upload

from xpcnn import ops
from xpcnn.backend import to_host, use_backend
from xpcnn.geometry import Window
from xpcnn.layers import BatchNorm, GlobalAveragePooling, LocalResponseNorm
from xpcnn.losses import MeanSquaredError, SoftmaxCrossEntropy

ROWS = 70_000
"""More than 65,504, the largest number in half precision."""

HALF = {"rtol": 1e-3, "atol": 1e-6}
"""One rounding to half precision, and a little."""


def half(*arrays):
    arrays = [upload(np.asarray(array, np.float16)) for array in arrays]
    return arrays[0] if len(arrays) == 1 else arrays


def assert_half(found, wanted, dtype="float16", **tolerance):
    assert found.dtype == dtype
    np.testing.assert_allclose(to_host(found), wanted, **{**HALF, **tolerance})


# ---------------------------------------------------------------- means of whole images


@pytest.mark.parametrize("side", [224, 512])
def test_the_mean_of_a_whole_image_in_float32(backend, side):
    uneven = np.random.default_rng(0).random((side, side))
    image = np.stack([np.full((side, side), 0.1), uneven, 1000 + uneven])[None].astype(np.float32)
    exact = image.astype(np.float64).mean(axis=(2, 3))
    for found in (GlobalAveragePooling()(upload(image)), ops.average_pool(upload(image), Window(side))):
        np.testing.assert_allclose(to_host(found).reshape(1, 3), exact, rtol=1e-6)


@pytest.mark.parametrize(("side", "value"), [(112, 10.0), (7, 2000.0), (224, 0.1), (2, 60000.0)])
def test_the_mean_of_a_whole_image_in_float16(backend, side, value):
    image = np.full((2, 1, side, side), value, np.float16)
    layer = GlobalAveragePooling()
    assert_half(layer(upload(image)), image[:, :, 0, 0], rtol=0, atol=0)
    assert_half(ops.average_pool(upload(image), Window(side)), image[:, :, :1, :1], rtol=0, atol=0)
    dx = layer.backward(half(np.ones((2, 1))))
    assert_half(dx, np.full(image.shape, np.float16(1 / side**2)), rtol=0, atol=0)


@pytest.mark.parametrize("op", ["average", "max", "col2im"])
def test_overlapping_windows_add_up_in_backward(backend, op):
    """A pixel in the middle is in 81 windows: 81 x 31 is 2,511, and above 2,048 half has even numbers only."""
    window, image_size = Window(9), (20, 20)
    dy = np.full((1, 1, 12, 12), 31.0)
    if op == "average":
        dx = ops.average_pool_backward(half(81 * dy), image_size, window)
        rounded = upload(np.float64(np.float16(81 * dy)))
        wanted = to_host(ops.average_pool_backward.__wrapped__(rounded, image_size, window))
    elif op == "max":
        image = np.zeros((1, 1, *image_size))
        image[..., 10, 10] = 1
        _, winner = ops.max_pool(half(image), window)
        dx, wanted = ops.max_pool_backward(half(dy), winner, image_size, window), np.zeros(image.shape)
        for at, tap in np.ndenumerate(to_host(winner)[0, 0]):
            wanted[0, 0, at[0] + tap // 9, at[1] + tap % 9] += 31
    else:
        cols = np.full((1, 9, 9, 1, 12, 12), 31.0)
        dx = ops.col2im(half(cols), image_size, window)
        wanted = 31 * np.multiply.outer(*[np.convolve(np.ones(12), np.ones(9))] * 2)[None, None]
    assert_half(dx, wanted, rtol=5e-4)


# ---------------------------------------------------------------- more values a channel than half can count


def test_batch_norm_over_more_values_than_half_can_count(backend):
    x, dy = normal(0, (ROWS, 2), (ROWS, 2), dtype="float16")
    x, dy = (x * np.float16(0.5) + np.float16(3)), np.abs(dy)
    layer = BatchNorm(2).astype("float16")
    y = to_host(layer(upload(x))).astype(np.float64)
    dx = layer.backward(upload(dy))
    mean, variance = (a[None] for a in (x.mean(0, dtype=np.float64), x.astype(np.float64).var(0)))
    normalized = (x - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(y, normalized, rtol=2e-3, atol=2e-3)
    assert_half(layer.running_mean.data, 0.1 * mean[0])
    assert_half(layer.running_variance.data, 0.9 + 0.1 * variance[0])
    of_dy, of_product = dy.mean(0, dtype=np.float64), (dy * normalized).mean(0)
    wanted = (dy - of_dy - normalized * of_product) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(to_host(dx), wanted, rtol=2e-3, atol=4e-3)
    assert_half(layer.bias.grad, ROWS * of_dy)  # 55,800
    assert_half(layer.weight.grad, ROWS * of_product, atol=1)


def test_a_variance_that_half_cannot_hold(backend):
    """Values around 400 have a variance of 160,000; their sums of dy pass 65,504, but dx does not depend on that."""
    x = normal(0, (50, 3, 8, 8), dtype="float16") * np.float16(400)
    layer = BatchNorm(3).astype("float16")
    y = layer(upload(x))
    exact = (x - x.mean((0, 2, 3), dtype=np.float64)[:, None, None]) / x.astype(np.float64).std((0, 2, 3))[
        :, None, None
    ]
    np.testing.assert_allclose(to_host(y), exact, rtol=2e-3, atol=2e-3)
    with np.errstate(over="ignore"):
        dx = layer.backward(half(np.full(x.shape, 100.0)))
    np.testing.assert_allclose(to_host(dx), 0, atol=1e-3)


def test_local_response_norm_of_numbers_whose_square_half_cannot_hold(backend):
    x, dy = normal(0, (2, 5, 3, 3), (2, 5, 3, 3), dtype="float16")
    x = np.float16(300) * x
    layer = LocalResponseNorm(5, alpha=5e-4, k=2)
    y = layer(upload(x))
    np.testing.assert_allclose(
        to_host(y), reference.local_response_norm(x, 5, 5e-4, 0.75, 2), rtol=2e-3, atol=1e-3
    )
    exact = LocalResponseNorm(5, alpha=5e-4, k=2)
    exact(upload(x.astype(np.float64)))
    wanted = to_host(exact.backward(upload(dy.astype(np.float64))))
    np.testing.assert_allclose(to_host(layer.backward(upload(dy))), wanted, rtol=4e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["labels", "rows"])
def test_a_loss_over_more_rows_than_half_can_count(backend, kind):
    logits = np.zeros((ROWS, 2), np.float16)
    logits[:, 0] = np.log(3)
    labels = np.arange(ROWS) % 2 if kind == "labels" else np.eye(2, dtype=np.float16)[np.arange(ROWS) % 2]
    criterion = SoftmaxCrossEntropy()
    loss = criterion(upload(logits), upload(labels))
    assert float(loss) == pytest.approx(-(np.log(0.75) + np.log(0.25)) / 2, rel=1e-3)
    wanted = (np.array([[0.75, 0.25]]) - np.eye(2)[np.arange(2)]) / ROWS
    assert_half(criterion.backward()[:2], wanted, rtol=0.02)  # numbers of 1e-5 have 8 bits in half


def test_a_loss_larger_than_half_can_hold(backend):
    loss = SoftmaxCrossEntropy()(half([[6e4, -6e4]]), upload(np.array([1])))
    assert float(loss) == pytest.approx(1.2e5, rel=1e-3)


def test_squared_errors_that_half_cannot_hold(backend):
    y, target = np.full((ROWS, 3), 300.0), np.zeros((ROWS, 3))
    criterion = MeanSquaredError()
    assert float(criterion(half(y), half(target))) == pytest.approx(1.5 * 300**2)
    assert_half(criterion.backward(), (y - target) / ROWS)


def test_biases_and_factors_of_more_rows_than_half_can_count(backend):
    x, dy = np.full((ROWS, 2), 0.5), np.full((ROWS, 3), 0.25)
    _, dweight, dbias = ops.affine_backward(*half(dy, x, np.ones((3, 2))))
    assert_half(dweight, np.full((3, 2), ROWS / 8))
    assert_half(dbias, np.full(3, ROWS / 4))
    _, dweight, dbias = ops.channel_scale_backward(*half(x, x, np.ones(2)))
    assert_half(dweight, np.full(2, ROWS / 4))
    assert_half(dbias, np.full(2, ROWS / 2))
    x, dy = np.full((7, 1, 100, 100), 0.5), np.full((7, 2, 100, 100), 0.25)
    _, dweight, dbias = ops.conv_backward(*half(dy, x, np.ones((2, 1, 1, 1))), Window(1))
    assert_half(dweight, np.full((2, 1, 1, 1), ROWS / 8))
    assert_half(dbias, np.full(2, ROWS / 4))


def test_rows_and_columns_of_many_classes(backend):
    x = np.zeros((5000, 3))
    for axis, terms in ((0, 5000), (1, 3)):
        y = ops.softmax(half(x), axis)
        assert_half(y, np.full(x.shape, 1 / terms))
        dx = ops.softmax_backward(half(np.ones(x.shape)), y, axis)
        np.testing.assert_allclose(to_host(dx), 0, atol=2e-7 if axis == 0 else 2e-4)


def test_activations_whose_steps_half_cannot_hold(backend):
    """The error function divides numbers of 10^5, which are infinite in half."""
    x, dy = np.linspace(-12, 12, 97).astype(np.float16), np.full(97, 2, np.float16)
    for name in ("gelu", "silu"):
        forward, backward = getattr(ops, name), getattr(ops, f"{name}_backward")
        with use_backend("numpy", "reference"):
            y, dx = forward(x.astype(np.float64)), backward(dy.astype(np.float64), x.astype(np.float64))
        assert_half(forward(half(x)), y, atol=1e-5)
        assert_half(backward(*half(dy, x)), dx, atol=1e-5)


@pytest.mark.parametrize("groups", [None, 1, 2])
def test_the_statistics_of_a_sample_that_half_cannot_hold(backend, groups):
    """Values around 400 have a variance of 160,000, and 4,000 of them a sum beyond 65,504; groups or layer norm."""
    x, dy = normal(0, (2, 4, 1000), (2, 4, 1000), dtype="float16")
    x = x * np.float16(400) + np.float16(100)
    weight, bias = np.ones(4 if groups else (4, 1000)), np.zeros(4 if groups else (4, 1000))
    numbers = (groups, 1e-5) if groups else (1e-5,)
    name = "group_norm" if groups else "layer_norm"
    forward, backward = getattr(ops, name), getattr(ops, f"{name}_backward")
    exact = x.astype(np.float64), dy.astype(np.float64)
    with use_backend("numpy", "reference"):
        y, gradients = forward(exact[0], weight, bias, *numbers), backward(*exact[::-1], weight, *numbers)
    assert_half(forward(*half(x, weight, bias), *numbers), y, rtol=2e-3, atol=2e-3)
    for found, wanted in zip(backward(*half(dy, x, weight), *numbers), gradients, strict=True):
        assert_half(found, wanted, rtol=2e-3, atol=2e-3 * np.abs(wanted).max())


def test_the_gradient_of_a_gate_over_more_pixels_than_half_can_count(backend):
    x, gate = np.full((1, 2, 70_000), 0.5), np.ones((1, 2))
    _, dgate = ops.product_backward(*half(np.full(x.shape, 0.25), x, gate))
    assert_half(dgate, np.full((1, 2), 8750.0))


# ---------------------------------------------------------------- PyTorch


def test_pytorch_in_half_precision(torch):
    F = torch.nn.functional
    for seed, (shape, size, stride) in enumerate(
        (((2, 3, 12, 12), 3, 1), ((1, 2, 40, 40), 40, 40), ((2, 2, 9, 9), 9, 1))
    ):
        x, dy = normal(seed, shape, (*shape[:2], *[(shape[2] - size) // stride + 1] * 2), dtype="float16")
        x = x * np.float16(50) + np.float16(100)
        tx = torch.tensor(x, requires_grad=True)
        ty = F.avg_pool2d(tx.float(), size, stride).half()
        ty.backward(torch.tensor(dy))
        window = Window(size, stride)
        assert_half(ops.average_pool(x, window), ty.detach().numpy())
        assert_half(ops.average_pool_backward(dy, shape[2:], window), tx.grad.numpy(), atol=1e-4)
    x, dy = normal(7, (30, 4, 60, 60), (30, 4, 60, 60), dtype="float16")
    layer, theirs = BatchNorm(4).astype("float16"), torch.nn.BatchNorm2d(4).half()
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    ty.backward(torch.tensor(dy))
    np.testing.assert_allclose(layer(x), ty.detach().numpy(), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(layer.backward(dy), tx.grad.numpy(), rtol=2e-3, atol=4e-3)
    np.testing.assert_allclose(layer.running_variance.data, theirs.running_var.numpy(), rtol=2e-3)
    np.testing.assert_allclose(layer.bias.grad, theirs.bias.grad.numpy(), rtol=2e-3, atol=0.2)
