"""Losses: values and gradients against plain loops, and an error for everything that can come in wrong."""

import math

import numpy as np
import pytest
import reference
from strategies import assert_close, normal, unchanged, upload

from xpcnn.backend import to_host
from xpcnn.errors import BackwardError, DatasetError, DtypeError, ShapeError
from xpcnn.losses import MeanSquaredError, SoftmaxCrossEntropy

LOGITS = normal(0, (4, 3), dtype="float32")
LABELS = np.array([2, 0, 1, 2])


def cross_entropy(logits, labels):
    criterion = SoftmaxCrossEntropy()
    loss = criterion(upload(logits), upload(labels))
    return loss, criterion.backward()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("leading", [(4,), (2, 3), (2, 1, 2)])
def test_integers_and_one_hot_rows_are_the_same_labels(backend, leading, dtype):
    logits = normal(1, (*leading, 5), dtype=dtype)
    labels = np.random.default_rng(2).integers(0, 5, leading)
    one_hot = np.eye(5)[labels]
    wanted = reference.cross_entropy(logits.reshape(-1, 5), one_hot.reshape(-1, 5))
    p = np.apply_along_axis(reference.softmax, -1, logits)
    for given in (labels, labels.astype(np.uint8), labels.astype(np.uint64), one_hot, one_hot.astype(bool)):
        loss, dlogits = cross_entropy(logits, given)
        assert_close(loss, wanted, dtype)
        assert_close(dlogits, (p - one_hot) / math.prod(leading), dtype)


def test_the_loss_stays_a_0_d_array_until_it_is_read(backend):
    loss, _ = cross_entropy(LOGITS, LABELS)
    assert loss.shape == ()
    assert isinstance(float(loss), float)


def test_the_gradient_is_that_of_the_loss(backend):
    logits, one_hot = LOGITS.astype(np.float64), np.eye(3)[LABELS]
    _, dlogits = cross_entropy(logits, LABELS)
    for index in np.ndindex(logits.shape):
        direction = np.zeros(logits.shape)
        direction[index] = 1
        slope = reference.derivative(lambda z: reference.cross_entropy(z, one_hot), logits, direction)
        assert float(dlogits[index]) == pytest.approx(slope, abs=1e-9)


@pytest.mark.parametrize("leading", [(4,), (2, 2)])
def test_soft_labels_whose_rows_do_not_sum_to_one(backend, leading):
    weights = np.array([[0, 0, 0], [1, 1, 0], [0.2, 0.3, 0.4], [2, 0, 0]], np.float32)
    loss, dlogits = cross_entropy(LOGITS.reshape(*leading, 3), weights.reshape(*leading, 3))
    assert float(loss) == pytest.approx(reference.cross_entropy(LOGITS, weights))
    p = np.apply_along_axis(reference.softmax, -1, LOGITS)
    wanted = (p * weights.sum(axis=1, keepdims=True) - weights) / 4
    np.testing.assert_allclose(to_host(dlogits).reshape(4, 3), wanted, atol=1e-6)
    assert not to_host(dlogits).reshape(4, 3)[0].any()  # a row of zeros weighs nothing


def test_logits_of_1e4(backend):
    loss, dlogits = cross_entropy(np.array([[1e4, -1e4, 0]], np.float32), np.array([1]))
    assert float(loss) == 2e4
    assert to_host(dlogits).tolist() == [[1, -1, 0]]


def test_arguments_are_not_written_to(backend):
    logits, labels, one_hot = upload(LOGITS), upload(LABELS), upload(np.eye(3)[LABELS])
    with unchanged(logits, labels, one_hot):
        for targets in (labels, one_hot):
            criterion = SoftmaxCrossEntropy()
            criterion(logits, targets)
            criterion.backward()
        squares = MeanSquaredError()
        squares(logits, one_hot)
        squares.backward()


def test_pytorch(torch):
    z = torch.tensor(LOGITS, requires_grad=True)
    theirs = torch.nn.functional.cross_entropy(z, torch.tensor(LABELS))
    theirs.backward()
    loss, dlogits = cross_entropy(LOGITS, LABELS)
    assert_close(loss, theirs.detach().numpy(), "float32")
    assert_close(dlogits, z.grad.numpy(), "float32")


@pytest.mark.parametrize("criterion", [SoftmaxCrossEntropy(), MeanSquaredError()], ids=repr)
def test_backward_belongs_to_one_call(backend, criterion):
    target = LABELS if isinstance(criterion, SoftmaxCrossEntropy) else LOGITS
    message = rf"{type(criterion).__name__}\(\): backward\(\) called without a loss; call criterion\("
    with pytest.raises(BackwardError, match=message):
        criterion.backward()
    criterion(upload(LOGITS), upload(target))
    criterion.backward()
    with pytest.raises(BackwardError, match=message):
        criterion.backward()


@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        (
            LOGITS,
            LABELS[:3],
            ShapeError,
            r"expected labels of shape \(4,\) \(integers\) or \(4, 3\) .* got \(3,\)",
        ),
        (LOGITS, LOGITS[:, :2], ShapeError, r"got \(4, 2\); pass one label for each row"),
        (LOGITS[0], np.array(2), ShapeError, r"for logits of \(3,\)"),
        (
            LOGITS.astype(int),
            LABELS,
            DtypeError,
            "expected floating logits, got int64; pass the model's output",
        ),
        (
            LOGITS,
            LABELS * 1.0,
            DtypeError,
            r"expected integer labels, got float64; pass labels.astype\('int64'\)",
        ),
        (LOGITS, LABELS > 0, DtypeError, "expected integer labels, got bool"),
        (LOGITS[:0], LABELS[:0], DatasetError, r"expected at least one row, got logits of \(0, 3\)"),
        (LOGITS.tolist(), LABELS, DtypeError, "got list"),
        (LOGITS, LABELS.tolist(), DtypeError, "got list"),
    ],
)
def test_what_does_not_fit(logits, labels, error, message):
    with pytest.raises(error, match=r"SoftmaxCrossEntropy\(\): .*" + message):
        SoftmaxCrossEntropy()(logits, labels)


@pytest.mark.parametrize("wrong", [-1, 3, 255])
def test_labels_out_of_range(wrong):
    with pytest.raises(
        DatasetError, match=rf"expected labels from 0 to 2 for 3 logits, got {wrong}; count classes"
    ):
        SoftmaxCrossEntropy()(LOGITS, np.array([0, 1, wrong, 2]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mean_squared_error(backend, dtype):
    y, target = normal(0, (4, 2, 3), (4, 2, 3), dtype=dtype)
    criterion = MeanSquaredError()
    loss = criterion(upload(y), upload(target.astype(np.float64)))
    wanted = math.fsum((float(a) - float(b)) ** 2 for a, b in zip(y.ravel(), target.ravel(), strict=True)) / 8
    assert_close(loss, wanted, dtype)
    assert_close(criterion.backward(), (y - target) / 4, dtype)


@pytest.mark.parametrize(
    ("y", "target", "error", "message"),
    [
        (LOGITS, LOGITS[:3], ShapeError, r"expected targets of shape \(4, 3\), got \(3, 3\)"),
        (LOGITS.astype(int), LOGITS, DtypeError, "expected floating y, got int64"),
        (LOGITS[:0], LOGITS[:0], DatasetError, r"expected at least one row, got y of \(0, 3\)"),
        (LOGITS[0, 0, ...], LOGITS[0, 0, ...], ShapeError, r"got shape \(\); pass y\[None\]"),
    ],
)
def test_mean_squared_error_of_what_does_not_fit(y, target, error, message):
    with pytest.raises(error, match=r"MeanSquaredError\(\): .*" + message):
        MeanSquaredError()(y, target)
