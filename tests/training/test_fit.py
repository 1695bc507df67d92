"""fit: training in one call, beside the loop that it is written on."""

import copy
import io
import subprocess
import sys

import numpy as np
import pytest

import xpcnn
from xpcnn import models
from xpcnn.backend import to_host
from xpcnn.data import Compose, Crop, Dataset, Flip, Paired, Split, split
from xpcnn.errors import DatasetError, DtypeError, HyperparameterError
from xpcnn.layers import Affine, Conv, Flatten, Sequential
from xpcnn.losses import L1, MeanSquaredError, SoftmaxCrossEntropy
from xpcnn.optimizers import SGD, Adam
from xpcnn.schedules import step_decay
from xpcnn.training import EarlyStopping, History, evaluate, fit, train
from xpcnn.training.metrics import accuracy

RNG = np.random.default_rng(0)
IMAGES = RNG.random((50, 1, 8, 8), np.float32)
LABELS = (IMAGES.mean(axis=(1, 2, 3)) * 100).astype(int) % 3
DATA = (IMAGES, LABELS)
QUIET = {"progress": False, "rng": 0}


def small(backend=None):
    return models.simple(3, 0, input_shape=(1, 8, 8), width=0.1)


def weights(model):
    return [to_host(parameter.data) for parameter in model.parameters()]


def same(ours, theirs):
    for one, other in zip(weights(ours), weights(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_is_the_loop_to_the_bit(backend):
    transform, schedule = Compose(Crop(1), Flip()), step_decay(0.01, 4)
    ours, theirs = small().to_device(), small().to_device()
    history = xpcnn.fit(ours, DATA, epochs=3, batch_size=20, transform=transform, schedule=schedule, **QUIET)
    steps = []

    class Watched(SoftmaxCrossEntropy):
        def __call__(self, y, target):
            loss = super().__call__(y, target)
            steps.append(float(loss))
            return loss

    optimizer = Adam(theirs.parameters())
    losses = [loss for _, loss in train(
        theirs, Watched(), optimizer, DATA, epochs=3, batch_size=20, rng=0, transform=transform, schedule=schedule)
    ]  # fmt: skip
    same(ours, theirs)
    assert history["loss"] == losses
    np.testing.assert_allclose(history.losses, steps, rtol=1e-6)
    assert history["epoch"] == [1, 2, 3]
    assert history["steps"] == [3, 6, 9]
    assert history["learning_rate"] == [schedule(2), schedule(5), schedule(8)]
    assert history["seconds"] == sorted(history["seconds"])
    assert len(history) == 3
    assert not history.stopped


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_each_step_has_its_loss_where_labels_are_ignored_and_weighed(reduction):
    labels = np.where(np.arange(50) % 7 == 0, 255, LABELS)
    labels[:10] = 255
    criterion, steps = SoftmaxCrossEntropy(class_weight=(1, 2, 3), ignore_index=255, reduction=reduction), []

    class Watched(type(criterion)):
        def __call__(self, y, target):
            steps.append(super().__call__(y, target))
            return steps[-1]

    watched = Watched(class_weight=(1, 2, 3), ignore_index=255, reduction=reduction)
    history = fit(small(), (IMAGES, labels), criterion=watched, epochs=2, batch_size=5, **QUIET)
    np.testing.assert_allclose(history.losses, np.array(steps, float), rtol=1e-5)


def test_validation_is_a_share_held_back_or_a_set_of_its_own():
    model, held = small(), []
    history = fit(model, DATA, epochs=2, validation=0.2, callbacks=[lambda *_: held.append(1)], **QUIET)
    rest, validation = split(DATA, 0.2)
    other = small()
    given = fit(other, rest, epochs=2, validation=validation, **QUIET)
    same(model, other)
    for name in ("loss", "validation_loss", "validation_accuracy"):
        assert history[name] == given[name]
    assert history["validation_loss"][-1] == evaluate(model, validation, SoftmaxCrossEntropy())
    assert history["validation_accuracy"][-1] == evaluate(model, validation)
    assert len(held) == 2


def test_a_data_set_of_two_halves_trains_on_the_first():
    both = Dataset(Split(*DATA)[:40], Split(*DATA)[40:])
    model, other = small(), small()
    fit(model, both, epochs=1, **QUIET)
    fit(other, both.train, epochs=1, **QUIET)
    same(model, other)


def test_other_losses_have_no_accuracy_and_a_metric_of_ones_own_is_named():
    def bias(y, target):
        return float((y - target).mean())

    model = Sequential(Flatten(), Affine(64, 1, rng=0))
    numbers = IMAGES.mean(axis=(1, 2, 3))[:, None]
    history = fit(model, (IMAGES, numbers), criterion=MeanSquaredError(), epochs=1, validation=10, **QUIET)
    assert "validation_accuracy" not in history.epochs[0]
    history = fit(model, (IMAGES, numbers), criterion=L1(), metric=bias, epochs=1, validation=10, **QUIET)
    assert history["validation_bias"] == [evaluate(model, split((IMAGES, numbers), 10)[1], bias)]


def test_maps_have_the_accuracy_of_their_axis_without_what_is_ignored():
    maps = (IMAGES[:, 0] > 0.5).astype(np.uint8)
    maps[:, 0] = 255
    criterion = SoftmaxCrossEntropy(axis=1, ignore_index=255)
    model = Sequential(Conv(1, 2, 1, rng=0))
    history = fit(
        model, (IMAGES, maps), criterion=criterion, epochs=30, batch_size=10, validation=(IMAGES, maps),
        transform=Paired(Flip(), Crop(1), fill=255), optimizer=SGD(model.parameters(), 5.0), **QUIET,
    )  # fmt: skip
    wanted = evaluate(model, (IMAGES, maps), lambda y, t: accuracy(y, t, ignore_index=255))
    assert history["validation_accuracy"][-1] == wanted > 0.9


def test_early_stopping_ends_with_the_best_epochs_weights():
    kept = {}

    def keep(model, history):
        kept[history.epochs[-1]["epoch"]] = copy.deepcopy(weights(model))

    model = small()
    optimizer = SGD(model.parameters(), 3.0)
    history = fit(
        model,
        DATA,
        epochs=60,
        batch_size=5,
        validation=0.2,
        patience=3,
        optimizer=optimizer,
        callbacks=[keep],
        **QUIET,
    )
    losses = history["validation_loss"]
    best = int(np.argmin(losses)) + 1
    assert history.best["epoch"] == best
    assert len(history) == best + 3 < 60
    assert "is the best of" in history.stopped
    for ours, theirs in zip(weights(model), kept[best], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_patience_that_is_never_tried_ends_with_the_best_epoch_too():
    kept, model = [], small()
    history = fit(
        model, DATA, epochs=8, batch_size=5, validation=0.3, patience=100, optimizer=SGD(model.parameters(), 2.0),
        callbacks=[lambda model, history: kept.append(copy.deepcopy(weights(model)))], **QUIET,
    )  # fmt: skip
    assert len(history) == 8
    best = history.best["epoch"]
    assert best < 8  # or the test shows nothing
    for ours, theirs in zip(weights(model), kept[best - 1], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_callback_stops_the_training():
    def enough(model, history):
        if history.epochs[-1]["epoch"] == 2:
            history.stop("enough")

    for callbacks in ([enough], enough):
        history = fit(small(), DATA, epochs=9, callbacks=callbacks, **QUIET)
        assert len(history) == 2
        assert history.stopped == "enough"


@pytest.mark.parametrize("step", [0, 1, 2, 3, 7])
def test_ctrl_c_gives_back_the_history_so_far(step):
    """In the middle of an epoch, and at the first step of one."""
    count = iter(range(100))

    class Interrupted(SoftmaxCrossEntropy):
        def __call__(self, y, target):
            if next(count) == step:
                raise KeyboardInterrupt
            return super().__call__(y, target)

    history = fit(small(), DATA, criterion=Interrupted(), epochs=9, batch_size=20, **QUIET)
    assert len(history.losses) == step
    assert len(history) == step // 3
    assert history.stopped == "Ctrl-C"
    whole = fit(small(), DATA, epochs=3, batch_size=20, **QUIET)
    assert history.losses == whole.losses[:step]
    assert history["loss"] == whole["loss"][: step // 3]


def test_ctrl_c_in_a_callback_keeps_the_epoch():
    def interrupted(model, history):
        raise KeyboardInterrupt

    history = fit(small(), DATA, epochs=3, batch_size=20, validation=0.2, callbacks=[interrupted], **QUIET)
    assert len(history) == 1
    assert len(history.losses) == 2


def test_the_bar_and_a_line_for_each_epoch_and_silence(capsys):
    fit(small(), DATA, epochs=2, batch_size=20, validation=0.2)
    shown = capsys.readouterr()
    assert [line.split()[:2] for line in shown.out.splitlines()] == [["epoch", "1"], ["epoch", "2"]]
    assert "validation accuracy" in shown.out
    assert "epoch 2/2" in shown.err
    fit(small(), DATA, epochs=1, progress=False)
    assert capsys.readouterr() == ("", "")


def not_reached(model, history):
    pytest.fail("an epoch was trained")


def test_a_function_in_place_of_a_model():
    with pytest.raises(DtypeError, match=r"fit: expected a model.*pass models.simple\(\)"):
        fit(models.simple, DATA)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"callbacks": [1]}, DtypeError, r"every callback .*pass a function of \(model, history\)"),
        ({"patience": 0}, HyperparameterError, "patience must be at least 1"),
        ({"validation": 1.5}, DatasetError, "split: expected a share"),
        ({"criterion": "cross_entropy"}, DtypeError, "'cross_entropy'"),
        ({"optimizer": "adam"}, DtypeError, "'adam'"),
        ({"epochs": -1}, HyperparameterError, "epochs"),
        ({"validation": "test"}, DatasetError, r"evaluate: expected \(images, labels\), got str"),
        ({"validation": Dataset(Split(*DATA), Split(*DATA))}, DatasetError, r"pass its \.test"),
        ({"transform": lambda images: images}, DtypeError, r"function of \(images, rng\)"),
    ],
)
def test_misuse_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        fit(small(), DATA, **{**QUIET, **options, "callbacks": options.get("callbacks", not_reached)})


def test_a_history_is_shown():
    history = fit(small(), DATA, epochs=2, batch_size=20, validation=0.2, **QUIET)
    history.stop("<enough>")
    table = history._repr_html_()
    assert table.count("<tr") == 3
    assert "&lt;enough&gt;" in table
    assert "<enough>" not in table
    assert f"{history['loss'][0]:.4g}" in table
    assert "validation accuracy" in table
    assert "2 of 2 epochs, 4 steps" in repr(history)
    assert repr(history).count("\n") == 2
    assert "0 of 3 epochs" in repr(History(3)) + History(3)._repr_html_()


def test_a_history_is_drawn(tmp_path):
    history = fit(small(), DATA, epochs=3, batch_size=20, validation=0.2, **QUIET)
    figure = history.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    loss, score = figure.axes
    steps, training, validation = loss.lines
    assert list(steps.get_ydata()) == history.losses
    np.testing.assert_allclose(steps.get_xdata(), np.arange(1, 7) / 2)
    assert list(training.get_ydata()) == history["loss"]
    assert list(validation.get_ydata()) == history["validation_loss"]
    assert list(score.lines[0].get_ydata()) == history["validation_accuracy"]
    assert figure._repr_png_().startswith(b"\x89PNG")  # a notebook shows it
    unfinished = History(5)
    unfinished.losses = [3.0, 2.0]
    assert list(unfinished.plot().axes[0].lines[0].get_ydata()) == [3.0, 2.0]


def test_early_stopping_stands_for_itself():
    assert repr(EarlyStopping(3)) == "EarlyStopping(3)"


def test_one_import_is_enough():
    code = "import xpcnn, numpy as np; m = xpcnn.models.simple(3, 0, input_shape=(1, 8, 8), width=0.1); " \
           "h = xpcnn.fit(m, (np.ones((4, 1, 8, 8), np.uint8), np.arange(4) % 3), epochs=1); print(len(h))"  # fmt: skip
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "1"


def test_it_is_short_enough_to_read():
    from pathlib import Path

    file = Path(sys.modules["xpcnn.training.fit"].__file__)
    assert len(io.StringIO(file.read_text()).readlines()) < 100
