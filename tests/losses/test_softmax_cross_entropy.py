"""The options of SoftmaxCrossEntropy: PyTorch, plain loops and differences, on every backend."""

import itertools
import math

import numpy as np
import pytest
import reference
from strategies import normal, unchanged, upload

from xpcnn.backend import to_host
from xpcnn.errors import DatasetError, HyperparameterError, ShapeError, XpcnnError
from xpcnn.losses import SoftmaxCrossEntropy

LABELS = np.array([[2, 0, 1, 2], [1, 1, 3, 0], [2, 3, 2, 1]])
WEIGHTS = (0.5, 2.0, 0.0, 1.25)
OPTIONS = [
    {"label_smoothing": smoothing, "class_weight": weights, "ignore_index": ignored, "reduction": reduction}
    for smoothing, weights, ignored, reduction in itertools.product(
        (0.0, 0.1, 1.0), (None, WEIGHTS), (None, 1, 255, -100), ("mean", "sum")
    )
]


def labels_with(ignored):
    """Labels, some of which are to be ignored."""
    labels = LABELS.copy()
    if ignored not in (None, 1):
        labels[0, 1] = labels[2, 2] = ignored
    return labels


def computed(logits, labels, **options):
    criterion = SoftmaxCrossEntropy(**options)
    loss = criterion(upload(logits), upload(labels))
    return float(loss), to_host(criterion.backward())


def by_hand(logits, labels, label_smoothing, class_weight, ignore_index, reduction, soft=False):
    """Loops over rows (M,D) and labels (M,), or rows of probabilities (M,D)."""
    D = logits.shape[1]
    weights = class_weight or (1.0,) * D
    total, divisor = [], []
    for row, label in zip(logits, labels, strict=True):
        if not soft and label == ignore_index:
            continue
        log_p = [math.log(p) for p in reference.softmax(row)]
        for d in range(D):
            target = label[d] if soft else float(d == label)
            smooth = (1 - label_smoothing) * target + label_smoothing / D
            total.append(-weights[d] * smooth * log_p[d])
        divisor.append(1 if soft else weights[label])
    return math.fsum(total) / (math.fsum(divisor) if reduction == "mean" else 1)


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_integers_by_loops_and_differences(backend, options):
    logits, labels = normal(0, (12, 4)), labels_with(options["ignore_index"]).ravel()
    loss, dlogits = computed(logits, labels, **options)
    assert loss == pytest.approx(by_hand(logits, labels, **options), rel=1e-12)
    for index in ((0, 0), (1, 2), (3, 1), (5, 3), (10, 0)):
        direction = np.zeros(logits.shape)
        direction[index] = 1
        slope = reference.derivative(lambda z: by_hand(z, labels, **options), logits, direction)
        assert dlogits[index] == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize("options", [one for one in OPTIONS if one["ignore_index"] is None], ids=repr)
def test_rows_of_probabilities_by_loops(backend, options):
    logits, rows = normal(0, (12, 4)), np.random.default_rng(1).random((12, 4))
    loss, dlogits = computed(logits, rows, **options)
    assert loss == pytest.approx(by_hand(logits, rows, soft=True, **options), rel=1e-12)
    for index in ((0, 0), (5, 3)):
        direction = np.zeros(logits.shape)
        direction[index] = 1
        slope = reference.derivative(lambda z: by_hand(z, rows, soft=True, **options), logits, direction)
        assert dlogits[index] == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_pytorch_of_maps(torch, backend, options, dtype):
    """Logits (N,C,H,W), labels (N,H,W) or probabilities (N,C,H,W)."""
    logits = normal(2, (3, 4, 2, 2), dtype=dtype)
    targets = [labels_with(options["ignore_index"]).reshape(3, 2, 2)]
    if options["ignore_index"] is None:
        targets.append(np.random.default_rng(3).random((3, 4, 2, 2)).astype(dtype))
    for target in targets:
        z = torch.tensor(logits, requires_grad=True)
        weights = options["class_weight"] and torch.tensor(options["class_weight"], dtype=z.dtype)
        ignored = {} if options["ignore_index"] is None else {"ignore_index": options["ignore_index"]}
        theirs = torch.nn.functional.cross_entropy(
            z, torch.tensor(target), weights, reduction=options["reduction"],
            label_smoothing=options["label_smoothing"], **ignored,
        )  # fmt: skip
        theirs.backward()
        for axis in (1, -3):
            loss, dlogits = computed(logits, target, axis=axis, **options)
            tolerance = 2e-6 if dtype == "float32" else 1e-12
            assert loss == pytest.approx(float(theirs.detach()), rel=5 * tolerance)
            assert dlogits.dtype == dtype
            np.testing.assert_allclose(dlogits, z.grad.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("axis", [1, 2, 3, -1, -2, -3])
def test_the_axis_is_the_one_of_the_classes(backend, axis):
    logits, labels = normal(4, (2, 3, 3, 3)), np.random.default_rng(5).integers(0, 3, (2, 3, 3))
    moved = np.moveaxis(logits, axis, -1).reshape(-1, 3)
    wanted = reference.cross_entropy(moved, np.eye(3)[labels.ravel()])
    loss, dlogits = computed(logits, labels, axis=axis)
    assert loss == pytest.approx(wanted, rel=1e-12)
    _, rows = computed(moved, labels.ravel())
    np.testing.assert_array_equal(dlogits, np.moveaxis(rows.reshape(2, 3, 3, 3), -1, axis))


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1, "class_weight": WEIGHTS}], ids=repr)
def test_unsigned_labels_and_an_ignored_one_that_they_cannot_hold(backend, options):
    for dtype in (np.uint8, np.int8, np.uint64):
        labels = LABELS.ravel().astype(dtype)
        assert computed(normal(0, (12, 4)), labels, ignore_index=-100, **options)[0] == pytest.approx(
            computed(normal(0, (12, 4)), LABELS.ravel(), **options)[0], rel=1e-12
        )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_batch_of_ignored_labels_has_no_loss_and_no_gradient(backend, reduction):
    logits = normal(0, (12, 4), dtype="float32")
    loss, dlogits = computed(logits, np.full(12, 255), ignore_index=255, reduction=reduction)
    assert loss == 0
    assert not dlogits.any()


def test_a_label_out_of_range_is_nan_with_options_too(backend):
    """On a device nothing is read, so it shows as NaN, as without options."""
    if isinstance(np.zeros(1), backend.ndarray):
        pytest.skip("on the host it is an error")
    labels = LABELS.ravel().copy()
    labels[3] = 4
    for options in OPTIONS[:16]:
        loss, _ = computed(normal(0, (12, 4)), labels, **options)
        assert math.isnan(loss)


def test_half_precision_rounds_once(backend):
    """The sum of 5,000 losses is more than half can hold."""
    logits = normal(0, (5000, 4), dtype="float16") * np.float16(8)
    labels = np.arange(5000) % 4
    for reduction in ("mean", "sum"):
        options = {
            "label_smoothing": 0.1,
            "class_weight": WEIGHTS,
            "ignore_index": None,
            "reduction": reduction,
        }
        loss, dlogits = computed(logits, labels, **options)
        single, wanted = computed(logits.astype("float32"), labels, **options)
        assert loss == pytest.approx(single, rel=1e-6)
        assert dlogits.dtype == "float16"
        np.testing.assert_array_equal(dlogits, wanted.astype("float16"))


def test_arguments_are_not_written_to(backend):
    logits, labels = upload(normal(0, (3, 4, 2, 2))), upload(labels_with(255).reshape(3, 2, 2))
    with unchanged(logits, labels):
        criterion = SoftmaxCrossEntropy(1, 0.1, WEIGHTS, 255)
        criterion(logits, labels)
        criterion.backward()


def test_the_default_takes_the_kernels(monkeypatch):
    """Without options the op is called on what was given, with no copy and no rows of targets."""
    from xpcnn import ops

    given = []
    op = ops.softmax_cross_entropy
    monkeypatch.setattr(ops, "softmax_cross_entropy", lambda *args: given.append(args) or op(*args))
    logits, labels = normal(0, (12, 4), dtype="float32"), LABELS.ravel()
    SoftmaxCrossEntropy()(logits, labels)
    assert all(np.shares_memory(a, b) for a, b in zip(given[0], (logits, labels), strict=True))


def test_how_it_writes_itself():
    assert repr(SoftmaxCrossEntropy()) == "SoftmaxCrossEntropy()"
    criterion = SoftmaxCrossEntropy(axis=1, class_weight=np.array([1, 2.5]), ignore_index=np.int64(255))
    assert repr(criterion) == "SoftmaxCrossEntropy(axis=1, class_weight=(1.0, 2.5), ignore_index=255)"


NONSENSE = [
    *({"axis": value} for value in (1.5, "1", None, True, (0, 1))),
    *({"label_smoothing": value} for value in (-0.1, 1.1, float("nan"), "0.1", None, True)),
    *({"class_weight": value} for value in (1.0, "12", [], [1, -1], [1, float("nan")], [0, 0], [[1, 2]], [None])),
    *({"ignore_index": value} for value in (1.5, "255", True, float("nan"))),
    *({"reduction": value} for value in ("none", None, 1, ["mean"])),
]  # fmt: skip


@pytest.mark.parametrize("options", NONSENSE, ids=repr)
def test_options_out_of_range(options):
    with pytest.raises(
        HyperparameterError, match=rf"^SoftmaxCrossEntropy: expected .*{next(iter(options))}.* got .*; \w"
    ):
        SoftmaxCrossEntropy(**options)


@pytest.mark.parametrize(
    ("options", "logits", "labels", "error", "message"),
    [
        ({"class_weight": [1, 2]}, (12, 4), LABELS.ravel(), ShapeError,
         "expected 4 class weights for 4 classes, got 2; pass one for each class"),
        ({"axis": 0}, (12, 4), LABELS.ravel(), ShapeError, "on axis 0, after the batch, got 2 axes; pass an axis"),
        ({"axis": 2}, (12, 4), LABELS.ravel(), ShapeError, "on axis 2"),
        ({"axis": -2}, (12, 4), LABELS.ravel(), ShapeError, "on axis -2"),
        ({}, (3, 4, 2, 2), LABELS.reshape(3, 2, 2), ShapeError, r"; pass SoftmaxCrossEntropy\(axis=1\) for maps"),
        ({"axis": 1}, (3, 4, 2, 2), LABELS, ShapeError, r"expected labels of shape \(3, 2, 2\)"),
        ({"ignore_index": 255}, (12, 4), np.eye(4)[LABELS.ravel()], DatasetError, "leave ignore_index out"),
        ({"ignore_index": 255}, (12, 4), np.where(LABELS == 3, 254, 255).ravel(), DatasetError, "got 254; count"),
    ],
)  # fmt: skip
def test_what_does_not_fit(options, logits, labels, error, message):
    with pytest.raises(error, match=rf"^SoftmaxCrossEntropy\(.*\): .*{message}"):
        SoftmaxCrossEntropy(**options)(np.zeros(logits, np.float32), labels)


CHECKED = [
    ({}, (4,), LABELS.ravel(), None),
    ({}, (4,), np.eye(4)[LABELS.ravel()], None),
    ({}, (4, 4), LABELS, None),
    ({"axis": 1}, (4, 2, 2), LABELS.reshape(3, 2, 2), None),
    ({"axis": 1}, (4, 2, 2), np.ones((3, 4, 2, 2)), None),
    ({"axis": 1, "ignore_index": 255}, (4, 2, 2), labels_with(255).reshape(3, 2, 2), None),
    ({"class_weight": WEIGHTS}, (4,), LABELS.ravel(), None),
    ({"axis": 1}, (3, 2, 2), LABELS.reshape(3, 2, 2), r"expected labels from 0 to 2, got 3 at index \(1, 1, 0\); c"),
    ({"axis": 1, "ignore_index": 9}, (4, 2, 2), labels_with(255).reshape(3, 2, 2),
     r"expected labels from 0 to 3, or 9, got 255 at index \(0, 0, 1\)"),
    ({"axis": 1}, (4, 2, 3), LABELS.reshape(3, 2, 2), r"expected integer labels \(N, 2, 3\) or .*pass one label for"),
    ({"axis": 1}, (4, 2, 2), np.ones((3, 4, 2, 3)), r"expected one-hot labels \(N, 4, 2, 2\), got \(3, 4, 2, 3\); enc"),
    ({}, (4, 2, 2), LABELS.reshape(3, 2, 2), r"got maps of \(3, 2, 2\); pass SoftmaxCrossEntropy\(axis=1\)"),
    ({"axis": 1}, (4, 2, 2), LABELS.reshape(3, 2, 2) * 1.0, r"got float64 \(3, 2, 2\); convert with labels.astype"),
    ({"class_weight": (1, 2)}, (4,), LABELS.ravel(), "expected 4 class weights for 4 classes, got 2"),
    ({"ignore_index": 255}, (4,), np.full(12, 255), "expected a label that counts, got none"),
    ({"class_weight": WEIGHTS}, (4,), np.full(12, 2, np.uint64), "expected a label that counts, got none"),
    ({"class_weight": WEIGHTS}, (4,), LABELS.ravel().astype(np.uint64), None),
    ({"ignore_index": 255}, (4,), np.eye(4), "leave ignore_index out"),
    ({}, ((4,), (4,)), LABELS.ravel(), "expected a model with one output"),
    ({"axis": 2}, (4,), LABELS.ravel(), "on axis 2"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "output_shape", "targets", "message"), CHECKED)
def test_a_data_set_of_labels_is_checked(options, output_shape, targets, message):
    criterion = SoftmaxCrossEntropy(**options)
    if message is None:
        criterion.check_targets(targets, output_shape)
    else:
        with pytest.raises(XpcnnError, match=rf"^SoftmaxCrossEntropy\(.*\): .*{message}"):
            criterion.check_targets(targets, output_shape)


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_batches_add_up_to_the_data_set(options):
    """The count of a batch is what its mean divides by, or a fixed multiple of it."""
    logits, labels = normal(0, (12, 4)), labels_with(options["ignore_index"]).ravel()
    criterion = SoftmaxCrossEntropy(**options)
    whole = float(criterion(logits, labels))
    pieces = [slice(0, 5), slice(5, 6), slice(6, 12)]
    losses = [float(criterion(logits[piece], labels[piece])) for piece in pieces]
    counts = [criterion.count(labels[piece], (4,)) for piece in pieces]
    if options["reduction"] == "sum":
        assert sum(losses) == pytest.approx(whole)
    else:
        total = sum(loss * count for loss, count in zip(losses, counts, strict=True))
        assert total / criterion.count(labels, (4,)) == pytest.approx(whole)
    assert sum(counts) == pytest.approx(criterion.count(labels, (4,)))
