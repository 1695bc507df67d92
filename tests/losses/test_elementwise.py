"""MeanSquaredError, L1, Huber and BinaryCrossEntropy: PyTorch, loops, differences, and what does not fit."""

import math

import numpy as np
import pytest
import reference
from strategies import normal, unchanged, upload

from xpcnn.backend import to_host
from xpcnn.errors import BackwardError, DatasetError, DtypeError, HyperparameterError, ShapeError, XpcnnError
from xpcnn.losses import L1, BinaryCrossEntropy, Huber, MeanSquaredError

Y, T = normal(0, (4, 2, 3), (4, 2, 3))
P = np.random.default_rng(1).random((4, 2, 3))

LOSSES = [
    (MeanSquaredError(), T, lambda y, t: (y - t) ** 2 / 2, 4),
    (L1(), T, lambda y, t: abs(y - t), 24),
    (Huber(), T, lambda y, t: (y - t) ** 2 / 2 if abs(y - t) <= 1 else abs(y - t) - 0.5, 24),
    (Huber(0.25), T, lambda y, t: (y - t) ** 2 / 2 if abs(y - t) <= 0.25 else 0.25 * (abs(y - t) - 0.125), 24),
    (BinaryCrossEntropy(), P, lambda z, t: math.log(1 + math.exp(z)) - t * z, 24),
    (BinaryCrossEntropy(3.0), P,
     lambda z, t: 3 * t * math.log(1 + math.exp(-z)) + (1 - t) * math.log(1 + math.exp(z)), 24),
]  # fmt: skip


def computed(criterion, y, target):
    loss = criterion(upload(y), upload(target))
    return float(loss), to_host(criterion.backward())


def by_hand(value, y, target, divisor):
    pairs = zip(y.ravel().tolist(), target.ravel().tolist(), strict=True)
    return math.fsum(value(*pair) for pair in pairs) / divisor


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("criterion", "target", "value", "divisor"), LOSSES, ids=[repr(loss[0]) for loss in LOSSES]
)
def test_loops_and_differences(backend, criterion, target, value, divisor, reduction):
    kind = type(criterion)
    options = {k: v for k, v in vars(criterion).items() if k in ("delta", "positive_weight")}
    criterion = kind(**options, reduction=reduction)
    divisor = divisor if reduction == "mean" else 1
    loss, dy = computed(criterion, Y, target)
    assert loss == pytest.approx(by_hand(value, Y, target, divisor), rel=1e-12)
    for index in np.ndindex(Y.shape):
        direction = np.zeros(Y.shape)
        direction[index] = 1
        slope = reference.derivative(lambda y: by_hand(value, y, target, divisor), Y, direction)
        assert dy[index] == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", ["mse", "l1", "huber", "huber wide", "bce", "bce weighted"])
def test_pytorch(torch, backend, name, reduction, dtype):
    F = torch.nn.functional
    scale = (
        24 / 8 if reduction == "mean" else 0.5
    )  # half of the squares, over the batch and not over the elements
    ours, theirs = {
        "mse": (MeanSquaredError(reduction), lambda *a, **k: F.mse_loss(*a, **k) * scale),
        "l1": (L1(reduction), F.l1_loss),
        "huber": (Huber(reduction=reduction), F.huber_loss),
        "huber wide": (Huber(2.5, reduction), lambda *a, **k: F.huber_loss(*a, delta=2.5, **k)),
        "bce": (BinaryCrossEntropy(reduction=reduction), F.binary_cross_entropy_with_logits),
        "bce weighted": (
            BinaryCrossEntropy(2.5, reduction),
            lambda *a, **k: F.binary_cross_entropy_with_logits(*a, pos_weight=torch.tensor(2.5), **k),
        ),
    }[name]
    y, target = (5 * Y).astype(dtype), (P if "bce" in name else T).astype(dtype)
    y[0, 0, 0] = target[0, 0, 0]  # where L1 has a kink
    z = torch.tensor(y, requires_grad=True)
    wanted = theirs(z, torch.tensor(target), reduction=reduction)
    wanted.backward()
    loss, dy = computed(ours, y, target)
    assert loss == pytest.approx(float(wanted.detach()), rel=1e-5 if dtype == "float32" else 1e-12)
    assert dy.dtype == dtype
    np.testing.assert_allclose(dy, z.grad.numpy(), rtol=1e-5, atol=1e-6)


def test_logits_of_1e4(backend):
    z, t = np.array([[1e4, -1e4, 1e4, -1e4]], np.float32), np.array([[1, 0, 0, 1]])
    for weight in (1.0, 2.0):
        loss, dz = computed(BinaryCrossEntropy(weight, "sum"), z, t)
        assert loss == 1e4 + weight * 1e4
        assert dz.tolist() == [[0, 0, 1, -weight]]


@pytest.mark.parametrize(("y", "target"), [((4, 1), (4,)), ((4, 1, 3, 2), (4, 3, 2)), ((4,), (4,))])
def test_an_axis_of_length_one_may_be_left_out_of_the_target(backend, y, target):
    """(N,) for (N,1): not broadcast to (N,N)."""
    y, target = normal(2, y, target)
    for criterion in (MeanSquaredError(), L1(), Huber(), BinaryCrossEntropy()):
        t = np.abs(target) / 9
        loss, dy = computed(criterion, y, t)
        wanted, right = computed(criterion, y, t.reshape(y.shape))
        assert loss == wanted
        assert dy.shape == y.shape
        np.testing.assert_array_equal(dy, right)
        criterion.check_targets(t, y.shape[1:])


@pytest.mark.parametrize("kind", [MeanSquaredError, L1, Huber, BinaryCrossEntropy])
def test_of_half_precision_and_other_dtypes(backend, kind):
    """The loss of half is in single; targets may be integers, flags or in double."""
    y = (60 * Y).astype(np.float16)
    for target in (P.round().astype(np.uint8), P > 0.5, P.astype(np.float64), P.round().astype(np.int64)):
        loss, dy = computed(kind(), y, target)
        wanted, right = computed(kind(), y.astype(np.float32), target.astype(np.float32))
        assert loss == wanted
        assert dy.dtype == np.float16
        np.testing.assert_array_equal(dy, right.astype(np.float16))


@pytest.mark.parametrize(
    "criterion", [MeanSquaredError(), L1(), Huber(), BinaryCrossEntropy(), BinaryCrossEntropy(2.0)]
)
def test_arguments_are_not_written_to_and_backward_belongs_to_one_call(backend, criterion):
    y, target = upload(Y), upload(P)
    with unchanged(y, target):
        criterion(y, target)
        criterion.backward()
    with pytest.raises(
        BackwardError, match=r"\): backward\(\) called without a loss; call criterion\(y, target\)"
    ):
        criterion.backward()


def test_how_they_write_themselves():
    assert repr(L1()) == "L1()"
    assert repr(Huber(0.5, "sum")) == "Huber(delta=0.5, reduction='sum')"
    assert repr(BinaryCrossEntropy(2)) == "BinaryCrossEntropy(positive_weight=2.0)"


@pytest.mark.parametrize("kind", [MeanSquaredError, L1, Huber, BinaryCrossEntropy])
@pytest.mark.parametrize(
    ("y", "target", "error", "message"),
    [
        (Y, P[:3], ShapeError, r"expected targets of shape \(4, 2, 3\), got \(3, 2, 3\); reshape them"),
        (Y[:, 0], P[:, 0, 0], ShapeError, r"expected targets of shape \(4, 3\), got \(4,\)"),
        (Y[:, 0, 0], P[:, 0, :1], ShapeError, r"expected targets of shape \(4,\), got \(4, 1\)"),
        (Y.astype(int), P, DtypeError, "expected floating y, got int64"),
        (Y, P.astype(complex), DtypeError, "expected targets that are numbers, got complex128"),
        (Y, P.astype(str), DtypeError, "expected targets that are numbers, got str"),
        (Y[:0], P[:0], DatasetError, "expected at least one row"),
        (Y, P.tolist(), DtypeError, "got list"),
    ],
)
def test_what_does_not_fit(kind, y, target, error, message):
    with pytest.raises(error, match=rf"^{kind.__name__}\(\): .*{message}"):
        kind()(y, target)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, 255, np.nan])
def test_binary_targets_are_from_0_to_1(wrong):
    target = P.copy()
    target[1, 0, 2] = wrong
    message = (
        rf"^BinaryCrossEntropy\(\): expected targets from 0 to 1, got {wrong} at index \(1, 0, 2\); pass prob"
    )
    with pytest.raises(DatasetError, match=message.replace("255", "255.0")):
        BinaryCrossEntropy()(Y, target)
    with pytest.raises(DatasetError, match=message.replace("255", "255.0")):
        BinaryCrossEntropy().check_targets(target, (2, 3))


@pytest.mark.parametrize(
    ("targets", "output_shape", "message"),
    [
        (T, (2, 3), None),
        (T[:, 0, 0], (1,), None),
        (T[:, 0, 0], (), None),
        (np.arange(4), (1,), None),
        (np.zeros((4, 2, 3), np.uint8), (2, 3), None),
        (
            T,
            (3, 2),
            r"expected targets of shape \(N, 3, 2\) like the model's output, got \(4, 2, 3\); reshape",
        ),
        (
            T[:, 0, 0],
            (3,),
            r"expected targets of shape \(N, 3\) .* got \(4,\); reshape the targets, or give the last",
        ),
        (
            np.where(T > 1, np.inf, T),
            (2, 3),
            r"expected finite targets, got inf at index \(\d, \d, \d\); correct",
        ),
        (np.full((4, 2, 3), 200, np.uint8), (2, 3), "expected floating images as targets, got uint8"),
        (T.tolist(), (2, 3), "expected targets as a NumPy array, got list"),
        (T.astype(str), (2, 3), "expected targets that are numbers"),
        (T, ((2, 3), (2,)), "expected a model with one output"),
    ],
)
def test_a_data_set_of_targets_is_checked(targets, output_shape, message):
    for kind in (MeanSquaredError, L1, Huber):
        if message is None:
            kind().check_targets(targets, output_shape)
        else:
            with pytest.raises(XpcnnError, match=rf"^{kind.__name__}\(\): .*{message}"):
                kind().check_targets(targets, output_shape)


NONSENSE = [
    *((Huber, "delta", value) for value in (0, -1, math.nan, math.inf, "1", None, True)),
    *((BinaryCrossEntropy, "positive_weight", value) for value in (-1, math.nan, math.inf, "1", None, [1.0, 2.0])),
    *((kind, "reduction", value) for kind in (L1, Huber, MeanSquaredError, BinaryCrossEntropy)
      for value in ("none", None, 1, ["mean"])),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "value"), NONSENSE)
def test_options_out_of_range(kind, name, value):
    with pytest.raises(HyperparameterError, match=rf"^{kind.__name__}: expected .*{name}.* got .*; \w"):
        kind(**{name: value})
