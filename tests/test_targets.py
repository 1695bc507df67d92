"""train, evaluate and predict with every kind of target, several inputs, several outputs and a user's own loss."""

import numpy as np
import pytest

from xpcnn.backend import to_host, xp
from xpcnn.errors import DatasetError, DtypeError, ShapeError, XpcnnError
from xpcnn.layers import Affine, Conv, Flatten, Layer, ReLU, Sequential, Tanh
from xpcnn.losses import L1, BinaryCrossEntropy, Huber, Loss, MeanSquaredError, SoftmaxCrossEntropy
from xpcnn.optimizers import SGD, Adam
from xpcnn.training import evaluate, predict, train
from xpcnn.training.metrics import accuracy

RNG = np.random.default_rng(0)
IMAGES = RNG.random((23, 1, 4, 4)).astype(np.float32)
CLASSES = RNG.integers(0, 3, 23)
SOFT = RNG.random((23, 3)).astype(np.float32)
MAPS = (IMAGES[:, 0] > 0.5) + (IMAGES[:, 0] > 0.8).astype(np.int64)  # (N,H,W), 3 classes
VOID = np.where(IMAGES[:, 0] < 0.1, 255, MAPS).astype(np.uint8)
MASKS = IMAGES[:, 0] > 0.5
NUMBERS = IMAGES.mean(axis=(1, 2, 3)) * 10  # (N,)
PICTURES = (IMAGES * 255).astype(np.uint8)


def dense(outputs):
    return Sequential(Flatten(), Affine(16, 12, rng=0), Tanh(), Affine(12, outputs, rng=1))


def convolutional(outputs):
    return Sequential(Conv(1, 6, 3, padding=1, rng=0), ReLU(), Conv(6, outputs, 1, rng=1))


def fit(model, criterion, dataset, epochs=8, batch_size=10, lr=0.02, **more):
    optimizer = Adam(model.parameters(), lr)
    return [
        loss
        for _, loss in train(
            model, criterion, optimizer, dataset, epochs=epochs, batch_size=batch_size, rng=0, **more
        )
    ]


class OwnLoss:
    """The fourth power, by a class that derives from nothing."""

    def __call__(self, y, target):
        self.difference = y - target[:, None].astype(y.dtype)
        return (self.difference**4).mean()

    def backward(self):
        return 4 * self.difference**3 / self.difference.size


KINDS = {
    "classes": (dense(3), SoftmaxCrossEntropy(), CLASSES),
    "classes, all options": (dense(3), SoftmaxCrossEntropy(-1, 0.1, (1, 2, 0.5), 0), CLASSES),
    "sum": (dense(3), SoftmaxCrossEntropy(reduction="sum"), CLASSES),
    "soft labels": (dense(3), SoftmaxCrossEntropy(), SOFT),
    "maps": (convolutional(3), SoftmaxCrossEntropy(axis=1), MAPS),
    "maps with void": (convolutional(3), SoftmaxCrossEntropy(axis=1, ignore_index=255), VOID),
    "weighted maps": (convolutional(3), SoftmaxCrossEntropy(1, 0.1, (1, 2, 3), 255, "sum"), VOID),
    "masks": (convolutional(1), BinaryCrossEntropy(), MASKS),
    "several labels": (dense(3), BinaryCrossEntropy(2.0), SOFT.round().astype(np.uint8)),
    "regression (N,)": (dense(1), MeanSquaredError(), NUMBERS),
    "regression (N,1)": (dense(1), Huber(0.5), NUMBERS[:, None]),
    "integers": (dense(1), L1(), np.rint(NUMBERS).astype(int)),
    "autoencoder": (convolutional(1), MeanSquaredError(), IMAGES),
    "autoencoder, sum": (convolutional(1), L1("sum"), IMAGES.astype(np.float64)),
    "own loss": (dense(1), OwnLoss(), NUMBERS / 5),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_target_trains_to_a_lower_loss(backend, kind):
    model, criterion, targets = KINDS[kind]
    model = model.copy().to_device()
    before = evaluate(model, (IMAGES, targets), criterion)
    losses = fit(model, criterion, (IMAGES, targets))
    assert losses[-1] < losses[0]
    assert evaluate(model, (IMAGES, targets), criterion) < 0.97 * before


@pytest.mark.parametrize("batch_size", [1, 4, 10, 22, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_loss_is_that_of_the_data_set_however_batches_fall(kind, batch_size):
    """It is the loss of the whole data set as one batch; with "sum" that of the same loss with "mean"."""
    model, criterion, targets = KINDS[kind]
    model = model.copy()
    mean = type(criterion)(**{**vars_of(criterion), "reduction": "mean"}) if kind in SUMS else criterion
    whole = float(mean(model(IMAGES), np.asarray(targets)))
    assert evaluate(model, (IMAGES, targets), criterion, batch_size=batch_size) == pytest.approx(
        whole, rel=1e-5
    )
    ((_, loss),) = train(
        model,
        criterion,
        SGD(model.parameters(), 0.0),
        (IMAGES, targets),
        epochs=1,
        batch_size=batch_size,
        rng=0,
    )
    assert loss == pytest.approx(whole, rel=1e-5)


SUMS = [kind for kind, (_, criterion, _) in KINDS.items() if getattr(criterion, "reduction", "mean") == "sum"]


def vars_of(criterion):
    return {name: value for name, value in vars(criterion).items() if not name.startswith("_")}


@pytest.mark.parametrize("transform", [None, lambda images, rng: images * 0.5], ids=["plain", "transform"])
def test_uint8_images_as_their_own_targets_are_scaled_and_not_transformed(backend, transform):
    given = []

    class Spy(MeanSquaredError):
        def __call__(self, y, target):
            given.append((to_host(y), to_host(target)))
            return super().__call__(y, target)

    model = Same()
    evaluate(model, (PICTURES, PICTURES), Spy(), batch_size=10, transform=transform)
    fit(model, Spy(), (PICTURES, PICTURES), epochs=1, transform=transform)
    assert [len(y) for y, _ in given] == [10, 10, 3, 10, 10, 3]
    for y, target in given:
        assert target.dtype == np.float32
        np.testing.assert_array_equal(y, target * np.float32(1 if transform is None else 0.5))
    predicted, targets = evaluate(model, (PICTURES, PICTURES), lambda *both: both)
    np.testing.assert_array_equal(predicted, targets)
    np.testing.assert_array_equal(targets, PICTURES / np.float32(255))
    for criterion in (MeanSquaredError(), BinaryCrossEntropy()):
        with pytest.raises(DatasetError, match=r"^train: expected .*; pass"):
            fit(model, criterion, (PICTURES, PICTURES.copy()))


class Same(Layer):
    """Gives what it is given."""

    def __init__(self):
        self.inner = Affine(1, 1)  # an optimizer wants a parameter

    def forward(self, x):
        return x

    def backward(self, dy, need_dx=True):
        return dy


class Both(Layer):
    """Two inputs: the difference of what one branch makes of both."""

    def __init__(self, features=16, outputs=3):
        self.flatten, self.branch = Flatten(), Affine(features, outputs, rng=0)
        self.seen = []

    def forward(self, x):
        left, right = x
        self.seen.append((to_host(left).copy(), to_host(right).copy()))
        return self.branch(self.flatten(left)) - self.branch(self.flatten(right))

    def backward(self, dy, need_dx=True):
        right = self.flatten.backward(self.branch.backward(-dy))
        return self.flatten.backward(self.branch.backward(dy)), right


def test_several_inputs_are_shuffled_alike(backend):
    model = Sequential(Both(), ReLU(), Affine(3, 3, rng=0))
    both = PICTURES, (PICTURES / np.float32(255))[:, :, ::-1]
    losses = fit(model, SoftmaxCrossEntropy(), (both, CLASSES), epochs=4)
    assert losses[-1] < losses[0]
    seen = [pair for pair in model[0].seen if len(pair[0]) > 1]
    assert [len(left) for left, _ in seen[:3]] == [10, 10, 3]
    for left, right in seen:
        np.testing.assert_array_equal(left[:, :, ::-1], right)
    first = np.concatenate([left for left, _ in seen[:3]])
    assert not np.array_equal(first, both[1][:, :, ::-1])
    np.testing.assert_array_equal(np.sort(first.ravel()), np.sort(both[1].ravel()))
    predicted = predict(model, both, batch_size=7)
    assert predicted.shape == (23, 3)
    assert evaluate(model, (both, CLASSES), batch_size=5) == accuracy(predicted, CLASSES)
    assert evaluate(model, (both, CLASSES), SoftmaxCrossEntropy(), batch_size=5) == pytest.approx(
        float(SoftmaxCrossEntropy()(xp.asarray(predicted), xp.asarray(CLASSES))), rel=1e-5
    )


def test_targets_go_with_their_inputs(backend):
    """Each input is told by its target; several targets too."""
    index = np.arange(23, dtype=np.float32)
    given = []

    class Watch(Loss):
        def __call__(self, y, target):
            given.append(tuple(to_host(part).copy() for part in (*y, *target)))
            self.save_for_backward([xp.zeros(part.shape, part.dtype) for part in y])
            return (y[0] * 0).sum()

        def backward(self):
            return self.pop_saved()[0]

    model = Pair()
    dataset = (index[:, None], index[:, None] + 100), (index.astype(int), -index)
    fit(model, Watch(), dataset, epochs=2)
    assert len(given) == 6
    for left, right, whole, negative in given:
        np.testing.assert_array_equal(left[:, 0], whole)
        np.testing.assert_array_equal(right[:, 0], whole + 100)
        np.testing.assert_array_equal(negative, -whole)
    assert evaluate(model, dataset, Watch()) == 0
    left, right = predict(model, dataset[0], batch_size=4)
    np.testing.assert_array_equal(left[:, 0], index)
    np.testing.assert_array_equal(right[:, 0], index + 100)


class Pair(Same):
    """Gives two outputs, as a list."""

    def forward(self, x):
        return list(x)

    def backward(self, dy, need_dx=True):
        return tuple(dy)


def test_a_transform_is_given_all_inputs(backend):
    def swap(images, rng):
        left, right = images
        return right, left

    left, right = predict(Pair(), (IMAGES, IMAGES + 1), transform=swap)
    np.testing.assert_array_equal(left, IMAGES + 1)
    np.testing.assert_array_equal(right, IMAGES)


# ---------------------------------------------------------------- evaluating


def test_accuracy_of_maps_is_the_share_of_pixels(backend):
    scores = np.random.default_rng(3).random((23, 3, 4, 4)).astype(np.float32)
    right = sum(
        int(np.argmax(scores[n, :, i, j])) == MAPS[n, i, j]
        for n in range(23)
        for i in range(4)
        for j in range(4)
    )
    for labels in (MAPS, np.moveaxis(np.eye(3)[MAPS], -1, 1)):
        assert evaluate(Same(), (scores, labels), batch_size=5) == right / (23 * 16)
    assert accuracy(scores.argmax(axis=1), MAPS) == right / (23 * 16)
    assert accuracy(np.moveaxis(scores, 1, -1), MAPS, axis=-1) == right / (23 * 16)
    wrong = np.where(scores.argmax(axis=1) == MAPS, MAPS, 255)
    assert accuracy(scores, wrong, ignore_index=255) == 1
    with pytest.raises(DatasetError, match=r"^evaluate: expected labels from 0 to 2, got 255 at index \(0, "):
        evaluate(Same(), (scores, wrong))


def test_a_metric_is_given_everything_on_the_host(backend):
    def error(predictions, targets):
        assert type(predictions) is type(targets) is np.ndarray
        return float(np.abs(predictions[:, 0] - targets).max())

    model = dense(1)
    assert evaluate(model, (IMAGES, NUMBERS), error, batch_size=4) == error(predict(model, IMAGES), NUMBERS)


def test_a_loss_that_evaluates_is_left_as_it_was(backend):
    """Its backward() still belongs to the call before."""
    model, criterion = dense(3), SoftmaxCrossEntropy()
    y = model(xp.asarray(IMAGES[:4]))
    criterion(y, xp.asarray(CLASSES[:4]))
    evaluate(model.copy().to_device(), (IMAGES, CLASSES), criterion)
    assert criterion.backward().shape == (4, 3)


def test_a_loss_that_fails_leaves_the_model_in_its_mode(backend):
    class Broken(OwnLoss):
        def __call__(self, y, target):
            raise RuntimeError("broken")

    model = dense(1)
    with pytest.raises(RuntimeError, match="broken") as caught:
        evaluate(model, (IMAGES, NUMBERS), Broken())
    assert all(layer.training for _, layer in model.named_layers())
    model(xp.asarray(IMAGES))
    model.backward(xp.ones((23, 1), xp.float32))  # no_grad() has ended too
    assert caught.value


# ---------------------------------------------------------------- what does not fit


class Several(OwnLoss):
    """Forgets to take the mean."""

    def __call__(self, y, target):
        super().__call__(y, target)
        return self.difference[:, 0] ** 2


class Particular(OwnLoss):
    """Says which targets it takes."""

    def check_targets(self, targets, output_shape):
        if targets.min() < 0:
            raise DatasetError(
                f"expected targets above 0 for {output_shape}, got others; take their logarithm"
            )


@pytest.mark.parametrize(
    ("model", "criterion", "targets", "error", "message"),
    [
        (dense(3), SoftmaxCrossEntropy(), CLASSES + 1, DatasetError, "expected labels from 0 to 2, got 3 at index"),
        (dense(3), SoftmaxCrossEntropy(), NUMBERS, DatasetError, r"expected integer labels \(N,\) or .* got float"),
        (dense(3), SoftmaxCrossEntropy(), MAPS, DatasetError, r"got int64 \(23, 4, 4\); pass one label"),
        (convolutional(3), SoftmaxCrossEntropy(), MAPS, DatasetError, r"; pass SoftmaxCrossEntropy\(axis=1\)"),
        (convolutional(3), SoftmaxCrossEntropy(axis=1), CLASSES, DatasetError, "pass one label for each position"),
        (convolutional(3), SoftmaxCrossEntropy(axis=1), VOID, DatasetError, "expected labels from 0 to 2, got 255"),
        (convolutional(3), SoftmaxCrossEntropy(1, class_weight=(1, 1)), MAPS, ShapeError, "expected 3 class weights"),
        (dense(3), MeanSquaredError(), NUMBERS, DatasetError, r"expected targets of shape \(N, 3\) .* got \(23,\)"),
        (dense(1), BinaryCrossEntropy(), NUMBERS, DatasetError, "expected targets from 0 to 1, got"),
        (dense(1), MeanSquaredError(), (NUMBERS, NUMBERS), DtypeError, "targets as a NumPy array, got tuple"),
        (dense(1), OwnLoss(), (NUMBERS, NUMBERS[:3]), DatasetError, "23 images and 3 labels"),
        (dense(1), Several(), NUMBERS, ShapeError, r"expected the loss to be one number, got shape \(10,\)"),
        (dense(1), OwnLoss, NUMBERS, DtypeError, "expected criterion to be a loss, .* an object"),
        (dense(1), Particular(), -NUMBERS, DatasetError, r"expected targets above 0 for \(1,\), got others; take"),
    ],
)  # fmt: skip
def test_targets_that_do_not_fit_are_one_sentence_with_the_fix(model, criterion, targets, error, message):
    optimizer = SGD(model.parameters(), 0.1)
    with pytest.raises(error, match=rf"^(train|batches): .*{message}") as caught:
        list(train(model, criterion, optimizer, (IMAGES, targets), epochs=1, batch_size=10))
    assert "; " in str(caught.value)
    assert optimizer.steps == 0
    with pytest.raises(error, match=rf"^(evaluate|batches): .*{message}"):
        evaluate(model, (IMAGES, targets), criterion, batch_size=10)


def test_a_function_without_backward_is_no_loss():
    with pytest.raises(
        DtypeError, match=r"^train: expected criterion to have backward\(\), got .*; define it"
    ):
        fit(dense(1), lambda y, target: (y * 0).sum(), (IMAGES, NUMBERS))


@pytest.mark.parametrize(
    ("model", "targets", "message"),
    [
        (
            dense(1),
            NUMBERS,
            r"expected scores of at least two classes for accuracy, got outputs of \(1,\); pass",
        ),
        (dense(3), NUMBERS, "expected integer labels"),
        (convolutional(3), CLASSES, "pass one label for each position"),
    ],
)
def test_accuracy_of_what_are_no_classes(model, targets, message):
    with pytest.raises(DatasetError, match=f"^evaluate: .*{message}"):
        evaluate(model, (IMAGES, targets))


@pytest.mark.parametrize("metric", [None, 1, "accuracy", SoftmaxCrossEntropy])
def test_a_metric_that_is_none(metric):
    with pytest.raises(DtypeError, match=r"^evaluate: expected .* got .*; pass"):
        evaluate(dense(3), (IMAGES, CLASSES), metric)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ((IMAGES, IMAGES[:4]), "expected as many of each input, got 23 and 4; pass all of one split"),
        ((), "expected images, got an empty tuple; pass an array"),
        ((IMAGES, IMAGES.tolist()), "expected images as a NumPy array, got list"),
        ([IMAGES, IMAGES], "expected images as a NumPy array, got list"),
        ((IMAGES, CLASSES), "expected images of dtype uint8 or floating, got int64"),
    ],
)
def test_inputs_that_do_not_fit(images, message):
    for call in (
        lambda: fit(Both(), SoftmaxCrossEntropy(), (images, CLASSES)),
        lambda: evaluate(Both(), (images, CLASSES)),
        lambda: predict(Both(), images),
    ):
        with pytest.raises(XpcnnError, match=f"^(train|evaluate|predict|batches): {message}"):
            call()
