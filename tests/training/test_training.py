import dataclasses
import gc
import math
import sys
import tracemalloc

import numpy as np
import pytest

from xpcnn.backend import to_device, to_host, use_backend, xp
from xpcnn.errors import BackwardError, DatasetError, DivergenceError, DtypeError, ShapeError
from xpcnn.layers import Affine, BatchNorm, Conv, Dropout, Flatten, Layer, Pooling, ReLU, Sequential
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import SGD, Adam
from xpcnn.training import evaluate, predict, train

pytestmark = pytest.mark.usefixtures("backend")


def small(rng=0, dropout=0.0):
    """3 classes of 8 x 8 images, with every kind of state that a model may have."""
    rng = np.random.default_rng(rng)
    return Sequential(
        Conv(1, 4, 3, rng=rng), BatchNorm(4), ReLU(), Pooling(2), Flatten(),
        Affine(36, 16, rng=rng), ReLU(), Dropout(dropout, rng=rng), Affine(16, 3, rng=rng),
    )  # fmt: skip


@pytest.fixture
def dataset():
    """16 images of noise with a label each: nothing to understand, only to learn by heart."""
    rng = np.random.default_rng(7)
    return rng.integers(0, 256, (16, 1, 8, 8), np.uint8), rng.integers(0, 3, 16)


def fit(model, dataset, optimizer=None, **settings):
    settings = {"epochs": 1, "batch_size": 5, "rng": 0, **settings}
    return train(
        model, SoftmaxCrossEntropy(), optimizer or Adam(model.parameters(), 0.01), dataset, **settings
    )


def state(model):
    return {
        name: to_host(value.data).copy()
        for kind in (model.named_parameters, model.named_buffers)
        for name, value in kind()
    }


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


class Recorder(Layer):
    """Passes x on and keeps it."""

    def __init__(self):
        self.seen = []

    def forward(self, x):
        self.seen.append(to_host(x).copy())
        return x

    def backward(self, dy, need_dx=True):
        return dy


class Counter:
    """Wraps the batches as tqdm does."""

    def __init__(self):
        self.lengths = []

    def __call__(self, feed):
        self.lengths.append(len(feed))
        return iter(feed)


# ---------------------------------------------------------------- learning


def test_it_learns_sixteen_images_by_heart(dataset):
    model = small()
    losses = [loss for _, loss in fit(model, dataset, epochs=60)]
    assert losses[0] > 0.7
    assert losses[-1] < 0.05
    assert evaluate(model, dataset) == 1.0


def test_one_hot_labels_train_and_evaluate_as_integers_do(dataset):
    images, labels = dataset
    one_hot = np.eye(3, dtype=np.float32)[labels]
    model, twin = small(), small()
    losses = list(fit(model, (images, one_hot), epochs=30))
    np.testing.assert_allclose(losses, list(fit(twin, dataset, epochs=30)), rtol=1e-3, atol=1e-4)
    assert evaluate(model, (images, one_hot)) == evaluate(model, dataset) > 0.9


def test_epochs_are_counted_from_1_and_the_model_is_in_training_mode(dataset):
    model = small().eval()
    epochs = []
    for epoch, loss in fit(model, dataset, epochs=3):
        assert type(loss) is float
        assert all(layer.training for _, layer in model.named_layers())
        model.eval()  # what the caller does between two epochs does not last
        epochs.append(epoch)
    assert epochs == [1, 2, 3]


def blur(images, rng):
    return images * rng.uniform(0.5, 1, (len(images), 1, 1, 1)).astype(np.float32)


def test_a_seed_repeats_to_the_bit(dataset):
    def once(seed):
        model = small(seed, dropout=0.5)
        losses = list(fit(model, dataset, epochs=3, rng=seed, transform=blur))
        return losses, state(model)

    losses, weights = once(1)
    again, same_weights = once(1)
    assert losses == again
    assert_same(weights, same_weights)
    other, _ = once(2)
    assert all(x != y for x, y in zip(losses, other, strict=True))


def test_the_seed_of_training_alone_changes_the_shuffle(dataset):
    assert list(fit(small(), dataset, rng=1)) != list(fit(small(), dataset, rng=2))


@pytest.mark.parametrize("batch_size", [3, 5, 16, 100])
def test_the_mean_loss_weighs_every_image_alike(dataset, batch_size):
    """With a learning rate of 0 it is the mean over the data set, however the batches fall."""
    model = Sequential(Flatten(), Affine(64, 3, rng=0))
    images, labels = dataset
    weight, bias = (to_host(parameter.data).astype(np.float64) for parameter in model.parameters())
    total = 0.0
    for image, label in zip(images, labels, strict=True):
        logits = [
            sum(
                float(p) / 255 * w
                for p, w in zip(image.ravel(), (weight if len(weight) == 3 else weight.T)[k], strict=True)
            )
            + bias[k]
            for k in range(3)
        ]
        total -= logits[label] - math.log(sum(math.exp(logit) for logit in logits))
    ((_, loss),) = fit(model, dataset, SGD(model.parameters(), 0.0), batch_size=batch_size)
    assert loss == pytest.approx(total / 16, rel=1e-5)


def test_the_schedule_is_asked_for_steps_from_0_on(dataset):
    asked = []

    def schedule(step):
        asked.append(step)
        return 0.01 / (1 + step)

    model = small()
    optimizer = Adam(model.parameters())
    list(fit(model, dataset, optimizer, epochs=2, schedule=schedule))
    assert asked == list(range(8))
    assert optimizer.lr == 0.01 / 8
    list(fit(model, dataset, optimizer, schedule=schedule))
    assert asked == list(range(12))  # a training that goes on does not begin its schedule again


def test_without_a_schedule_the_learning_rate_stays(dataset):
    model = small()
    optimizer = Adam(model.parameters(), 0.0123)
    list(fit(model, dataset, optimizer))
    assert optimizer.lr == 0.0123


def test_the_transform_makes_of_each_batch_what_the_model_sees(dataset):
    given = []

    def negative(images, rng):
        assert isinstance(rng, np.random.Generator)
        given.append(images.copy())
        return 1 - images

    recorder = Recorder()
    model = Sequential(recorder, *small())
    list(fit(model, dataset, transform=negative))
    assert [len(images) for images in given] == [5, 5, 5, 1]
    for images, seen in zip(given, recorder.seen, strict=True):
        assert images.dtype == seen.dtype == np.float32
        np.testing.assert_array_equal(seen, 1 - images)
    together = np.sort(np.concatenate(given).ravel())
    np.testing.assert_array_equal(together, np.sort(dataset[0].ravel() / np.float32(255)))


def test_progress_wraps_the_batches_of_each_epoch(dataset):
    counter, model = Counter(), small()
    list(fit(model, dataset, epochs=3, progress=counter))
    assert counter.lengths == [4, 4, 4]
    evaluate(model, dataset, batch_size=7, progress=counter)
    assert counter.lengths[3:] == [3]


def test_float64_images_train_a_float64_model(dataset):
    images, labels = dataset
    model = small().astype("float64")
    list(fit(model, (images / 255, labels)))
    assert all(parameter.data.dtype == np.float64 for parameter in model.parameters())
    assert predict(model, images / 255).dtype == np.float64


def test_it_stays_in_float32(dataset):
    recorder = Recorder()
    model = Sequential(*small(), recorder)
    list(fit(model, dataset, epochs=2, schedule=lambda step: 0.01))
    assert {x.dtype for x in recorder.seen} == {np.dtype(np.float32)}
    assert {value.dtype for name, value in state(model).items() if "counter" not in name} == {
        np.dtype(np.float32)
    }


# ---------------------------------------------------------------- stopping and going on


def test_a_training_stopped_between_epochs_goes_on_as_if_it_had_not(dataset):
    whole, parts = small(dropout=0.5), small(dropout=0.5)
    expected = [loss for _, loss in fit(whole, dataset, epochs=4)]
    optimizer, rng, losses = Adam(parts.parameters(), 0.01), np.random.default_rng(0), []
    for _, loss in fit(parts, dataset, optimizer, epochs=100, rng=rng):
        losses.append(loss)
        if len(losses) == 2:
            break
    losses += [loss for _, loss in fit(parts, dataset, optimizer, epochs=2, rng=rng)]
    assert losses == expected
    assert_same(state(whole), state(parts))


def test_a_training_interrupted_within_an_epoch_can_go_on(dataset):
    def interrupted(feed):
        for number, batch in enumerate(feed):
            if number == 2:
                raise KeyboardInterrupt
            yield batch

    model = small()
    optimizer = Adam(model.parameters(), 0.01)
    with pytest.raises(KeyboardInterrupt):
        next(fit(model, dataset, optimizer, progress=interrupted))
    assert optimizer.steps == 2
    assert [epoch for epoch, _ in fit(model, dataset, optimizer, epochs=60)][-1] == 60
    assert evaluate(model, dataset) == 1.0


# ---------------------------------------------------------------- bad input


def nan_at(call, before):
    """A transform that breaks one batch, and first calls `before`."""
    calls = []

    def transform(images, rng):
        calls.append(1)
        if len(calls) == call:
            before()
            return images * np.float32(np.nan)
        return images

    return transform


def test_a_loss_that_is_not_a_number_stops_before_the_update_and_names_the_step(dataset, backend):
    if backend.asynchronous:
        pytest.skip("reading the loss would wait for the device: see the next test")
    model, kept = small(), {}
    optimizer = Adam(model.parameters(), 0.01)
    transform = nan_at(
        7, before=lambda: kept.update({n: to_host(p.data).copy() for n, p in model.named_parameters()})
    )
    training = fit(model, dataset, optimizer, epochs=3, transform=transform)
    assert next(training)[0] == 1
    with pytest.raises(
        DivergenceError,
        match=r"^train: the loss became nan at step 7 \(epoch 2\), with learning rate 0.01; lo",
    ):
        next(training)
    assert optimizer.steps == 6
    assert_same(kept, {name: to_host(parameter.data) for name, parameter in model.named_parameters()})


def test_where_work_is_queued_the_loss_is_looked_at_once_an_epoch(dataset, backend):
    with use_backend(dataclasses.replace(backend, asynchronous=True)):
        model = small()
        optimizer = Adam(model.parameters(), 0.01)
        training = fit(model, dataset, optimizer, epochs=3, transform=nan_at(6, before=lambda: None))
        assert next(training)[0] == 1
        with pytest.raises(DivergenceError, match=r"became nan at step 6 \(epoch 2\)"):
            next(training)
    assert optimizer.steps == 8


def test_the_step_is_counted_over_trainings(dataset):
    model = small()
    optimizer = Adam(model.parameters(), 0.01)
    list(fit(model, dataset, optimizer))
    with pytest.raises(DivergenceError, match=r"at step 5 \(epoch 1\)"):
        list(fit(model, dataset, optimizer, transform=nan_at(1, before=lambda: None)))


def test_a_learning_rate_that_is_far_too_high_diverges(dataset):
    model = Sequential(Flatten(), Affine(64, 16, rng=0), ReLU(), Affine(16, 3, rng=0))
    with np.errstate(all="ignore"), pytest.raises(DivergenceError, match="learning rate 1e"):
        list(fit(model, dataset, SGD(model.parameters(), 1e25), epochs=20))


@pytest.mark.parametrize("label", [3, -1])
def test_labels_out_of_range_are_found_before_the_first_step(dataset, label):
    images, labels = dataset
    labels = labels.copy()
    labels[11] = label
    model = small()
    before = state(model)
    optimizer = Adam(model.parameters())
    with pytest.raises(DatasetError, match=rf"^train: expected labels from 0 to 2, got {label} at index 11"):
        next(fit(model, (images, labels), optimizer))
    assert optimizer.steps == 0
    assert_same(before, state(model))
    with pytest.raises(DatasetError, match=r"^evaluate: expected labels from 0 to 2"):
        evaluate(model, (images, labels))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x, y: (x[:0], y[:0]), DatasetError, "empty data set"),
        (lambda x, y: (x, y[:-1]), DatasetError, "16 images and 15 labels"),
        (lambda x, y: (x, y.astype(np.float32)), DatasetError, "expected integer labels"),
        (lambda x, y: (x, np.eye(4)[y]), DatasetError, r"expected one-hot labels \(N, 3\)"),
        (lambda x, y: (x.astype(np.int32), y), DtypeError, "uint8 or floating"),
        (lambda x, y: (x.astype(np.float64), y), DtypeError, "expected float32"),
        (lambda x, y: (x.tolist(), y), DtypeError, "NumPy array"),
        (lambda x, y: (np.concatenate([x, x], axis=1), y), ShapeError, "expected 1 channels, got 2"),
        (
            lambda x, y: (x[..., :2, :2], y),
            ShapeError,
            r"Conv\(1, 4, 3\): expected a height of at least 3, got 2",
        ),
        (lambda x, y: (x[..., :7], y), ShapeError, "Affine"),
    ],
)
def test_a_data_set_that_does_not_fit_is_refused_before_the_first_step(dataset, change, error, message):
    model = small()
    optimizer = Adam(model.parameters())
    with pytest.raises(error, match=message):
        next(fit(model, change(*dataset), optimizer))
    assert optimizer.steps == 0


# ---------------------------------------------------------------- evaluating


def scores(labels, wrong):
    """Images whose 4 channels are the scores of 4 classes; those in `wrong` vote for the next class."""
    votes = (labels + np.isin(np.arange(len(labels)), wrong)) % 4
    return np.eye(4, dtype=np.float32)[votes].reshape(-1, 4, 1, 1)


@pytest.mark.parametrize(("wrong", "share"), [([], 1.0), ([6], 6 / 7), ([0, 6], 5 / 7), (range(7), 0.0)])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 7, 100])
def test_evaluate_counts_every_image_once_the_last_batch_included(wrong, share, batch_size):
    labels = np.arange(7) % 4
    assert evaluate(Flatten(), (scores(labels, list(wrong)), labels), batch_size=batch_size) == share


def test_predict_keeps_the_order_and_is_in_evaluation_mode(dataset):
    images, _ = dataset
    model = small(dropout=0.5)
    whole = predict(model, images, batch_size=16)
    assert whole.shape == (16, 3)
    assert isinstance(whole, np.ndarray)
    np.testing.assert_allclose(predict(model, images, batch_size=5), whole, rtol=1e-5, atol=1e-6)
    before = state(model)
    predict(model, images)
    assert_same(before, state(model))  # neither running statistics nor the counter of dropout have moved


def test_every_layer_gets_its_own_mode_back(dataset):
    model = small()
    model[1].eval()
    modes = [layer.training for _, layer in model.named_layers()]
    assert len(set(modes)) == 2
    evaluate(model, dataset)
    assert [layer.training for _, layer in model.named_layers()] == modes
    with pytest.raises(DtypeError):
        predict(model, dataset[0].astype(np.float64))
    assert [layer.training for _, layer in model.named_layers()] == modes


def test_predict_saves_nothing_for_backward(dataset):
    model = small()
    predict(model, dataset[0])
    assert not any(layer._frames.stack for _, layer in model.named_layers())
    with pytest.raises(BackwardError):
        model.backward(xp.ones((16, 3), xp.float32))


def test_predict_transforms_too(dataset):
    recorder = Recorder()
    predict(Sequential(recorder, *small()), dataset[0], transform=lambda images, rng: images + 1)
    np.testing.assert_allclose(recorder.seen[0], dataset[0] / np.float32(255) + 1, rtol=1e-6)


def test_nothing_to_evaluate_is_refused(dataset):
    images, labels = dataset
    for call in (lambda: evaluate(small(), (images[:0], labels[:0])), lambda: predict(small(), images[:0])):
        with pytest.raises(DatasetError, match="empty data set"):
            call()


# ---------------------------------------------------------------- memory


def traced_memory():
    """Return the bytes that objects hold.

    Left out are names that CPython's cache of attributes keeps alive: C code that asks for an attribute makes a new
    string each time, and the cache has 4,096 entries to fill with them.
    """
    gc.collect()
    clear = getattr(sys, "_clear_internal_caches", None)  # from Python 3.13 on
    (clear or sys._clear_type_cache)()
    return tracemalloc.get_traced_memory()[0]


def test_memory_does_not_grow_from_step_to_step(dataset):
    """200 steps leave less than a thirtieth of the activations of a single one (about 60 kB).

    200 steps before them fill what keeps its size from then on, such as the simulated device's record of launches.
    """
    model = small(dropout=0.5)
    optimizer = Adam(model.parameters())
    list(fit(model, dataset, optimizer, epochs=5))
    tracemalloc.start()
    try:
        list(fit(model, dataset, optimizer, epochs=50))
        before = traced_memory()
        list(fit(model, dataset, optimizer, epochs=50))
        after = traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2_000


def test_activations_are_freed_as_backpropagation_proceeds(dataset):
    model = small()
    list(fit(model, dataset))
    assert not any(layer._frames.stack for _, layer in model.named_layers())


def test_another_backend_than_the_model_s_is_refused(dataset, backend):
    """A model made on one backend, trained on another that has arrays of its own."""
    model = small()

    class Elsewhere:
        pass

    other = dataclasses.replace(backend, name="other", ndarray=Elsewhere)
    with use_backend(other), pytest.raises(Exception, match="other") as caught:
        next(fit(model, dataset, SGD(model.parameters())))
    assert type(caught.value).__name__ == "BackendError"


# ---------------------------------------------------------------- half precision


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_model_in_half_precision_learns_as_in_single(backend, kind):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    images = (rng.random((60, 1, 8, 8)) / 4 + np.eye(8)[labels][:, None, :, None] / 2).astype(np.float16)
    losses = {}
    for dtype in ("float16", "float32"):
        model = small().astype(dtype)
        optimizer = kind(model.parameters(), lr=0.1 if kind is SGD else 0.01)
        data = images.astype(dtype), labels
        losses[dtype] = [
            loss
            for _, loss in train(
                model, SoftmaxCrossEntropy(), optimizer, data, epochs=15, batch_size=20, rng=0
            )
        ]
        assert evaluate(model, data) > 0.9
    assert losses["float16"] == pytest.approx(losses["float32"], rel=0.05, abs=0.01)


def test_the_epoch_s_loss_adds_up_to_more_than_half_can_hold(backend):
    """A loss of 600, of 300 images at once: their sum is 180,000."""
    model = Affine(2, 2, rng=0).astype("float16")
    model.weight.data[...] = to_device(np.array([[600, 0], [0, 0]], np.float16))
    data = np.tile(np.array([[1, 0]], np.float16), (300, 1)), np.ones(300, np.int64)
    optimizer = SGD(model.parameters(), lr=0.0)
    ((_, loss),) = train(model, SoftmaxCrossEntropy(), optimizer, data, epochs=1, batch_size=300, rng=0)
    assert loss == pytest.approx(600)
