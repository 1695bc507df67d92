"""BatchNorm alone (running statistics) and LocalResponseNorm alone (the numbers of the paper)."""

import numpy as np
import pytest
import reference
from strategies import assert_close, normal, upload

from xpcnn.backend import to_host
from xpcnn.errors import DtypeError, ShapeError
from xpcnn.layers import BatchNorm, LocalResponseNorm, no_grad

SHAPES = [(5, 3), (2, 3, 4, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_training_normalises_by_the_batch(backend, shape):
    x = 3 * normal(0, shape) + 7
    layer = BatchNorm(3).astype("float64")
    y = layer(upload(x))
    mean, variance = reference.batch_statistics(to_host(y))
    np.testing.assert_allclose(mean, 0, atol=1e-12)
    np.testing.assert_allclose(variance, 1, rtol=1e-4)
    assert_close(
        y, reference.batch_norm(x, [1] * 3, [0] * 3, *reference.batch_statistics(x), 1e-5), "float64"
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_running_statistics_are_updated_in_training_and_used_in_evaluation(backend, shape):
    layer = BatchNorm(3, momentum=0.3).astype("float64")
    mean, variance = np.zeros(3), np.ones(3)
    for seed in range(3):
        x = normal(seed, shape) * 2 + seed
        layer(upload(x))
        of_batch, biased = reference.batch_statistics(x)
        M = x.size // 3
        mean, variance = 0.7 * mean + 0.3 * of_batch, 0.7 * variance + 0.3 * biased * M / (M - 1)
    assert_close(layer.running_mean.data, mean, "float64")
    assert_close(layer.running_variance.data, variance, "float64")
    x = normal(9, shape)
    y = layer.eval()(upload(x))
    assert_close(y, reference.batch_norm(x, [1] * 3, [0] * 3, mean, variance, 1e-5), "float64")
    assert_close(layer.running_mean.data, mean, "float64")  # evaluation does not change them
    dx = layer.backward(upload(np.ones(shape)))
    wanted = np.ones(shape) / np.sqrt(variance + 1e-5).reshape(1, 3, *[1] * (len(shape) - 2))
    assert_close(dx, wanted, "float64")


def test_running_statistics_are_updated_inside_no_grad_too(backend):
    layer = BatchNorm(3)
    with no_grad():
        layer(upload(normal(0, (5, 3), dtype="float32") + 10))
    assert to_host(layer.running_mean.data).min() > 0.5


def test_backward_uses_the_mode_of_its_forward(backend):
    x, dy = normal(0, (5, 3)), normal(1, (5, 3))
    layer, other = BatchNorm(3).astype("float64"), BatchNorm(3).astype("float64")
    layer(upload(x))
    other(upload(x))
    layer.eval()
    assert_close(layer.backward(upload(dy)), to_host(other.backward(upload(dy))), "float64")


def test_a_large_mean_does_not_change_the_variance(backend):
    """E[x^2] - E[x]^2 would be nothing but rounding here."""
    x = normal(0, (64, 2), dtype="float32") + np.float32(1e4)
    _, variance = reference.batch_statistics(x)
    layer = BatchNorm(2, momentum=1)
    layer(upload(x))
    np.testing.assert_allclose(to_host(layer.running_variance.data), variance * 64 / 63, rtol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_pytorch_batch_norm(torch, shape):
    kind = torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d
    theirs, ours = kind(3, eps=1e-3, momentum=0.2).double(), BatchNorm(3, 1e-3, 0.2).astype("float64")
    weight, bias = normal(5, 3, 3)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(weight))
        theirs.bias.copy_(torch.tensor(bias))
    ours.weight.data, ours.bias.data = weight, bias
    for step in range(4):
        if step == 2:
            theirs.eval()
            ours.eval()
        x, dy = normal(step, shape, shape)
        tx = torch.tensor(x, requires_grad=True)
        theirs.zero_grad()
        ours.zero_grad()
        ty = theirs(tx)
        ty.backward(torch.tensor(dy))
        assert_close(ours(x), ty.detach().numpy(), "float64")
        assert_close(ours.backward(dy), tx.grad.numpy(), "float64", rtol=1e-9)
        assert_close(ours.weight.grad, theirs.weight.grad.numpy(), "float64")
        assert_close(ours.bias.grad, theirs.bias.grad.numpy(), "float64")
        assert_close(ours.running_mean.data, theirs.running_mean.numpy(), "float64")
        assert_close(ours.running_variance.data, theirs.running_var.numpy(), "float64")


def test_buffers_have_names_and_are_not_parameters():
    layer = BatchNorm(3)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert [name for name, _ in layer.named_buffers()] == ["running_mean", "running_variance"]
    assert all(buffer.persistent for _, buffer in layer.named_buffers())


X = np.zeros((4, 3, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("layer", "x", "error", "message"),
    [
        (BatchNorm(5), X, ShapeError, "BatchNorm(5): expected 5 channels, got 3 in (4, 3, 2, 2); pass channels=3"),
        (BatchNorm(5), X[0, 0, 0], ShapeError, "BatchNorm(5): expected (N, C, ...), got shape (2,); pass x[None]"),
        (BatchNorm(3), X.astype(np.float64), DtypeError, "BatchNorm(3): expected float32 like its weight, got float64"),
        (BatchNorm(3), X[:1, :, :1, :1], ShapeError, "expected more than one value a channel in training, got shape"),
        (BatchNorm(3), X[:1, :, 0, 0], ShapeError, "pass a larger batch, or call model.eval()"),
        (LocalResponseNorm(5), X[0, 0, 0], ShapeError, "LocalResponseNorm(5): expected (N, C, ...), got shape (2,)"),
    ],
)  # fmt: skip
def test_bad_input(layer, x, error, message):
    with pytest.raises(error) as caught:
        layer(x)
    assert message in str(caught.value)


def test_evaluation_takes_one_value_a_channel():
    assert BatchNorm(3).eval()(X[:1, :, 0, 0]).shape == (1, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BatchNorm(0), "BatchNorm: channels must be at least 1, got 0"),
        (lambda: LocalResponseNorm(0), "LocalResponseNorm: size must be at least 1, got 0; the paper has 5"),
        (lambda: BatchNorm(3).output_shape((4, 2)), r"expected 3 channels, got 4 in \(4, 2\)"),
        (lambda: BatchNorm(3).output_shape(()), r"expected \(N, C, ...\), got shape \(\)"),
    ],
)
def test_bad_shapes(make, message):
    with pytest.raises(ShapeError, match=message):
        make()


def test_local_response_norm_of_the_paper(backend):
    """Section 3.3 as it is printed: k = 2, n = 5, alpha = 1e-4, beta = 0.75, alpha not divided by n."""
    a = 40 * normal(0, (1, 8, 1, 1))
    wanted = np.empty_like(a)
    for i in range(8):
        j = slice(max(0, i - 2), min(7, i + 2) + 1)
        wanted[0, i] = a[0, i] / (2 + 1e-4 * (a[0, j] ** 2).sum()) ** 0.75
    assert_close(LocalResponseNorm(5, alpha=5e-4, k=2)(upload(a)), wanted, "float64")


def test_local_response_norm_by_default_is_pytorchs(torch):
    x = 30 * normal(0, (2, 6, 3, 3), dtype="float32")
    for size in (3, 4):
        theirs = torch.nn.LocalResponseNorm(size)(torch.tensor(x)).numpy()
        assert_close(LocalResponseNorm(size)(x), theirs, "float32")


def test_multiply_adds():
    assert LocalResponseNorm(5).multiply_adds((6, 3, 3)) == 5 * 54
    assert BatchNorm(6).multiply_adds((6, 3, 3)) == 0
