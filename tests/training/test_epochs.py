"""train() that nobody iterates over, and what people type by mistake."""

import gc
import inspect
import warnings

import numpy as np
import pytest

from xpcnn import data, models
from xpcnn.errors import DatasetError, DtypeError, ShapeError, XpcnnWarning
from xpcnn.layers import Affine, Conv, Flatten, Sequential, Sigmoid, Softmax
from xpcnn.losses import AuxiliaryCrossEntropy, BinaryCrossEntropy, MeanSquaredError, SoftmaxCrossEntropy
from xpcnn.optimizers import SGD, Adam
from xpcnn.training import evaluate, fit, predict, train

IMAGES = np.random.default_rng(0).random((12, 1, 8, 8), np.float32)
LABELS = np.arange(12) % 3


def small():
    return models.simple(3, 0, input_shape=(1, 8, 8), width=0.1)


def start(model=None, criterion=None, dataset=(IMAGES, LABELS), **more):
    model = small() if model is None else model
    optimizer = SGD(model.parameters())
    return train(
        model, criterion or SoftmaxCrossEntropy(), optimizer, dataset, epochs=2, batch_size=6, **more
    )


def test_without_a_loop_it_warns():
    with pytest.warns(XpcnnWarning, match=r"nothing was trained.*for epoch, loss in train.*xpcnn\.fit"):
        start()  # dropped at once


def test_a_prompt_shows_what_is_missing():
    epochs = start()
    assert "nothing is trained yet; write `for epoch, loss in train(...)" in repr(epochs)
    next(epochs)
    assert "under way" in repr(epochs)
    epochs.close()


def test_with_a_loop_it_is_silent():
    for _ in start():
        break
    assert len(list(start())) == 2
    start().close()
    gc.collect()


def test_it_still_shows_its_signature():
    assert list(inspect.signature(train).parameters)[:4] == ["model", "criterion", "optimizer", "dataset"]
    assert train.__doc__.startswith("Train, yielding")


def test_names_in_place_of_objects():
    for given in (
        ("cross_entropy", "adam"),
        (SoftmaxCrossEntropy(), "adam"),
        ("mse", Adam(small().parameters())),
    ):
        with pytest.raises(
            DtypeError, match=r"got the name '.*'; pass objects: train\(model, SoftmaxCrossEntropy\(\)"
        ):
            train(small(), *given)
    with pytest.raises(DtypeError, match=r"pass model\.parameters\(\)"):
        Adam(small())


CONV, LAST = (
    small(),
    Sequential(Conv(3, 4, 3, rng=0, data_format="NHWC"), Flatten(), Affine(4 * 36, 3, rng=0)),
)


@pytest.mark.parametrize(
    ("model", "images", "fix"),
    [
        (CONV, IMAGES[:, 0], "images[:, np.newaxis]"),
        (CONV, IMAGES.transpose(0, 2, 3, 1), "images.transpose(0, 3, 1, 2)"),
        (CONV, IMAGES.reshape(12, 64), "images.reshape(-1, 1, 8, 8)"),
        (LAST, np.repeat(IMAGES, 3, axis=1), "images.transpose(0, 2, 3, 1)"),
        (Sequential(Conv(3, 1, 3), Flatten(), Affine(36, 3)), np.repeat(IMAGES, 3, 1).reshape(12, -1),
         "images.reshape(-1, 3, 8, 8)"),
    ],
)  # fmt: skip
def test_images_of_other_axes_get_the_call_that_fixes_them(model, images, fix):
    calls = {
        "train": lambda images: next(start(model, dataset=(images, LABELS))),
        "evaluate": lambda images: evaluate(model, (images, LABELS)),
        "predict": lambda images: predict(model, images),
        "train ": lambda images: fit(model, (images, LABELS), epochs=1, progress=False),
    }
    for who, call in calls.items():
        with pytest.raises(ShapeError) as caught:
            call(images)
        assert str(caught.value).startswith(
            f"{who.strip()}: the images {images.shape} do not fit the model; pass {fix}"
        )
        call(eval(fix))  # and the fix works


def test_images_that_no_order_fits_keep_the_layers_own_message():
    with pytest.raises(ShapeError, match="Conv"):
        evaluate(CONV, (np.ones((12, 5, 8, 8), np.float32), LABELS))


def test_a_whole_data_set_is_not_evaluated():
    both = data.Dataset(data.Split(IMAGES, LABELS), data.Split(IMAGES, LABELS))
    with pytest.raises(DatasetError, match=r"got a Dataset.*pass its \.test"):
        evaluate(small(), both)
    with pytest.raises(DatasetError, match=r"got a Dataset.*pass its \.train"):
        next(start(dataset=both))
    with pytest.raises(DatasetError, match=r"predict: expected images, got a Split; pass its \.images"):
        predict(small(), both.test)
    assert evaluate(small(), both.test) == evaluate(small(), (IMAGES, LABELS))


ENDS = [
    (Softmax(), SoftmaxCrossEntropy(), LABELS),
    (Softmax(), AuxiliaryCrossEntropy(), LABELS),
    (Sequential(Softmax()), SoftmaxCrossEntropy(), LABELS),
    (Sigmoid(), BinaryCrossEntropy(), np.eye(3)[LABELS]),
]


@pytest.mark.parametrize(("end", "criterion", "targets"), ENDS)
def test_an_activation_that_the_loss_applies_itself_is_warned_of_once(end, criterion, targets):
    model = Sequential(Flatten(), Affine(64, 3, rng=0), end)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(start(model, criterion, (IMAGES, targets)))
    (warning,) = [one for one in caught if "ends in" in str(one.message)]
    assert warning.category is XpcnnWarning
    assert "model[:-1]" in str(warning.message)
    assert warning.filename == __file__


def test_activations_that_the_loss_does_not_apply_are_right():
    model = Sequential(Flatten(), Affine(64, 3, rng=0), Softmax())
    list(start(model, MeanSquaredError(), (IMAGES, np.eye(3)[LABELS])))
    list(start(model[:-1]))


@pytest.mark.parametrize(
    ("labels", "fix"),
    [
        (LABELS.astype(float), r"convert with labels.astype\(np.int64\)"),
        (LABELS + 0.5, r"for numbers to predict, use MeanSquaredError\(\)"),
    ],
)
def test_float_labels(labels, fix):
    for call in (lambda: next(start(dataset=(IMAGES, labels))), lambda: evaluate(small(), (IMAGES, labels))):
        with pytest.raises(DatasetError, match=f"expected integer labels .*got float64.*{fix}"):
            call()


@pytest.mark.parametrize("label", [1.0, 1, [1, 2], None])
def test_a_label_that_is_no_array(label):
    with pytest.raises(DtypeError, match=r"expected labels as an array, an integer for each row of logits"):
        SoftmaxCrossEntropy()(np.ones((2, 3), np.float32), label)
