"""A training that stops and goes on from its checkpoint ends in the bits of one that never stopped."""

import copy
import json
import re
from importlib.metadata import version
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import xpcnn
from xpcnn.backend import Backend, active_backend, to_host, use_backend
from xpcnn.checkpoint import load_checkpoint, load_weights, read_config, save_checkpoint, save_weights
from xpcnn.checkpoint._sealed import seal, unseal
from xpcnn.checkpoint.circumstances import circumstances
from xpcnn.data import Compose, Crop, Flip
from xpcnn.errors import CheckpointError, DivergenceError, ReproducibilityWarning
from xpcnn.kernels import CHOICES
from xpcnn.layers import Affine, BatchNorm, Conv, Dropout, Flatten, Pooling, ReLU, Sequential, Tanh
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import BY_NAME, SGD, Adam
from xpcnn.schedules import one_cycle, warm_up
from xpcnn.training import train
from xpcnn.training.state import Position, generator

IMAGES, BATCH, EPOCHS = 13, 5, 3  # three steps an epoch, the last of them with fewer images
STEPS = EPOCHS * 3
AUGMENT = Compose(Crop(1), Flip())


def small(rng=0, width=3, activation=ReLU, p=0.4):
    """Every kind of state: weights, running statistics, and chance within the network."""
    rng = np.random.default_rng(rng)
    return Sequential(
        Conv(1, width, 3, rng=rng), BatchNorm(width), activation(), Pooling(2), Flatten(), Dropout(p, rng=rng),
        Affine(4 * width, 3, rng=rng),
    )  # fmt: skip


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(7)
    return rng.integers(0, 256, (IMAGES, 1, 6, 6), np.uint8), rng.integers(0, 3, IMAGES)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "checkpoint.safetensors"


class Training:
    """A model, its optimizer, and the batches' wrapper that saves, or stops, after a step."""

    def __init__(self, optimizer=Adam, seed=0, **hyperparameters):
        self.model = small(seed)
        self.optimizer = optimizer(self.model.parameters(), 0.01, **hyperparameters)
        self.position = Position(seed)
        self.after = {}

    def between(self, batches):
        for batch in batches:
            yield batch
            for action in self.after.get(self.optimizer.steps, []):
                action()

    def run(self, dataset, epochs=EPOCHS, **options):
        options = {
            "batch_size": BATCH, "transform": AUGMENT, "schedule": warm_up(one_cycle(0.02, STEPS), 2), **options,
        }  # fmt: skip
        return list(
            train(self.model, SoftmaxCrossEntropy(), self.optimizer, dataset, epochs=epochs, position=self.position,
                  progress=self.between, **options)
        )  # fmt: skip

    def save(self, file, config=None):
        save_checkpoint(file, self.model, self.optimizer, self.position, config)

    def resume(self, file):
        self.position = load_checkpoint(file, self.model, self.optimizer)
        return self

    def state(self):
        arrays = {name: value.data for name, value in self.model.named_parameters()}
        arrays |= {name: value.data for name, value in self.model.named_buffers()}
        arrays |= {f"optimizer.{name}": array for name, array in self.optimizer.state.items()}
        return {name: to_host(array).copy() for name, array in arrays.items()} | {
            "steps": np.array(self.optimizer.steps), "lr": np.array(self.optimizer.lr),
            "key": np.array(self.model[5].key, np.uint64), "epoch": np.array(self.position.epoch),
        }  # fmt: skip


class Stop(Exception):
    pass


def stop():
    raise Stop


def stopped(dataset, file, after, **options):
    """Train, save after so many steps, and break off there."""
    training = Training(**options)
    training.after[after] = [lambda: training.save(file), stop]
    with pytest.raises(Stop):
        training.run(dataset)
    return training


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
        assert array.dtype == second[name].dtype


# ---------------------------------------------------------------- to the bit


@pytest.mark.parametrize("name", BY_NAME)
def test_every_optimizer_goes_on_to_the_bit_from_any_step(backend, dataset, tmp_path, name):
    """In the middle of an epoch and at its end; the losses of the epochs are those of whole epochs."""
    options = {"optimizer": BY_NAME[name], "weight_decay": 0.01, "clip_norm": 0.5}
    whole = Training(**options)
    for step in range(1, STEPS + 1):
        whole.after[step] = [lambda step=step: whole.save(tmp_path / str(step))]
    losses = whole.run(dataset)
    for step in (1, 2, 3, 5, 6, STEPS):
        resumed = Training(**options, seed=99).resume(tmp_path / str(step))
        assert resumed.optimizer.steps == step
        assert resumed.run(dataset) == losses[resumed_epoch(step) - 1 :]
        assert_same(whole.state(), resumed.state())


def resumed_epoch(step):
    return -(-step // 3)


@pytest.mark.usefixtures("backend")
def test_twice_stopped_is_as_good_as_once(dataset, file):
    whole = Training()
    losses = whole.run(dataset)
    stopped(dataset, file, 2)
    again = Training(seed=5).resume(file)
    again.after[7] = [lambda: again.save(file), stop]
    with pytest.raises(Stop):
        again.run(dataset)
    last = Training(seed=6).resume(file)
    assert last.run(dataset) == losses[2:]
    assert_same(whole.state(), last.state())


@pytest.mark.usefixtures("backend")
def test_between_two_epochs_the_former_is_given_once_more_and_nothing_is_lost(dataset, file):
    whole = Training()
    losses = whole.run(dataset)
    first, seen = Training(), []
    options = {"batch_size": BATCH, "transform": AUGMENT, "schedule": warm_up(one_cycle(0.02, STEPS), 2)}
    for epoch in train(first.model, SoftmaxCrossEntropy(), first.optimizer, dataset, epochs=EPOCHS,
                       position=first.position, **options):  # fmt: skip
        seen.append(epoch)
        first.save(file)
        break
    second = Training(seed=3).resume(file)
    assert second.run(dataset) == losses  # epoch 1 comes again, without a step
    assert seen == losses[:1]
    assert_same(whole.state(), second.state())


@pytest.mark.usefixtures("backend")
def test_a_training_that_is_over_gives_its_last_epoch_and_takes_no_step(dataset, file):
    whole = Training()
    losses = whole.run(dataset)
    whole = Training()
    whole.after[STEPS] = [lambda: whole.save(file)]
    whole.run(dataset)
    before = Training(seed=1).resume(file)
    assert before.run(dataset) == losses[-1:]
    assert before.optimizer.steps == STEPS


def test_before_the_first_step(dataset, file):
    first = Training()
    expected = Training().run(dataset)
    first.save(file)
    assert Training(seed=9).resume(file).run(dataset) == expected
    first.position.shuffle(IMAGES, 3)  # an epoch that has drawn its order, and no batch yet
    first.save(file)
    assert Training(seed=9).resume(file).run(dataset) == expected


@pytest.mark.parametrize("bits", [np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_every_generator_of_numpy(dataset, file, bits):
    rng = np.random.Generator(bits(3))
    rng.random(5, np.float32)  # half of a 64-bit draw is left over
    training, twin = Training(), Training()
    training.position, twin.position = Position(rng), Position(copy.deepcopy(rng))
    expected = twin.run(dataset)
    training.after[4] = [lambda: training.save(file), stop]
    with pytest.raises(Stop):
        training.run(dataset)
    assert Training(seed=9).resume(file).run(dataset) == expected[1:]


def test_a_generator_that_is_not_numpy_s_is_refused():
    with pytest.raises(CheckpointError, match=r"generator 'Dice' is unknown; use one of: PCG64, "):
        generator({"bit_generator": "Dice"})


def test_on_another_backend_within_tolerance(backend, dataset, file):
    losses = Training().run(dataset)
    with use_backend("numpy"):
        stopped(dataset, file, 4)
    if active_backend().name == "numpy":
        resumed = Training(seed=9).resume(file)
    else:
        with pytest.warns(ReproducibilityWarning, match=f"backend is {active_backend().name} .was numpy"):
            resumed = Training(seed=9).resume(file)
    assert isinstance(resumed.position.losses, active_backend().ndarray)
    np.testing.assert_allclose(
        [loss for _, loss in resumed.run(dataset)], [loss for _, loss in losses[1:]], rtol=1e-4
    )


@pytest.mark.usefixtures("backend")
def test_float64_stays_float64(dataset, file):
    images, labels = dataset[0] / 255, dataset[1]

    def training(seed):
        made = Training(seed=seed)
        made.model.astype("float64")
        made.optimizer = Adam(made.model.parameters(), 0.01)
        return made

    whole, first = training(0), training(0)
    losses = whole.run((images, labels))
    first.after[5] = [lambda: first.save(file), stop]
    with pytest.raises(Stop):
        first.run((images, labels))
    resumed = training(1).resume(file)
    assert resumed.run((images, labels)) == losses[1:]
    assert_same(whole.state(), resumed.state())


@pytest.mark.usefixtures("backend")
def test_without_a_schedule_the_learning_rate_is_that_of_the_checkpoint(dataset, file):
    training = Training(SGD)
    training.optimizer.lr = 0.125
    training.save(file)
    assert Training(SGD).resume(file).optimizer.lr == 0.125


# ---------------------------------------------------------------- the file


@pytest.mark.usefixtures("backend")
def test_equal_trainings_make_equal_files_and_the_configuration_travels(dataset, tmp_path):
    config = {"model": "small", "lr": 0.01, "limit": None, "누구": [1, 2]}
    for name in "12":
        training = Training()
        training.after[4] = [lambda training=training, name=name: training.save(tmp_path / name, config)]
        training.run(dataset)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert read_config(tmp_path / "1") == config


def test_it_is_a_safetensors_file_that_holds_every_buffer(dataset, file):
    stopped(dataset, file, 4)
    arrays = load_file(file)
    assert {
        "model.0.weight", "model.1.running_mean", "model.5.counter", "optimizer.mean", "optimizer.squares",
        "losses",
    } <= arrays.keys()  # fmt: skip
    assert arrays["losses"].shape == (3,)
    assert int.from_bytes(file.read_bytes()[:8], "little") % 8 == 0


def test_saving_into_a_folder_that_is_missing_and_over_a_former_file(dataset, tmp_path):
    file = tmp_path / "runs" / "1" / "checkpoint.safetensors"
    stopped(dataset, file, 1)
    stopped(dataset, file, 2)
    assert Training().resume(file).optimizer.steps == 2
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("function", ["os.replace", "os.fsync"])
def test_a_write_that_fails_leaves_the_former_checkpoint(dataset, file, monkeypatch, function):
    training = stopped(dataset, file, 2)
    former = file.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(function, full)
    training.optimizer.steps = 3
    with pytest.raises(OSError, match="No space left"):
        training.save(file)
    assert file.read_bytes() == former
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_loss_that_is_not_finite_leaves_the_former_checkpoint(dataset, file):
    training = stopped(dataset, file, 2)
    former = file.read_bytes()
    training.position.losses[1] = np.nan
    with pytest.raises(
        DivergenceError, match="loss of epoch 1 is no longer finite; the previous checkpoint stays"
    ):
        training.save(file)
    assert file.read_bytes() == former


# ---------------------------------------------------------------- what cannot be resumed


def assert_refused(file, *words, training=None):
    """CheckpointError that begins with the file's name; model and optimizer are as they were."""
    training = training or Training(seed=9)
    before = training.state()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(file, training.model, training.optimizer)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert "\n" not in message
    for word in words:
        assert word in message
    assert_same(before, training.state())


@pytest.fixture
def good(dataset, file):
    stopped(dataset, file, 4)
    return file


def with_network(model, optimizer=Adam, **hyperparameters):
    training = Training()
    training.model, training.optimizer = model, optimizer(model.parameters(), 0.01, **hyperparameters)
    return training


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: small(width=4), "layer 0 has out_channels=3, yours 4;"),
        (lambda: small(activation=Tanh), "is ReLU, yours Tanh;"),  # of equal shapes
        (lambda: small(p=0.5), "has p=0.4, yours 0.5;"),
        (lambda: Sequential(*small(), ReLU()), "is absent, yours ReLU;"),
        (lambda: Affine(3, 3, rng=0), "the model is Sequential, yours Affine;"),
    ],
)
def test_another_network_is_named_by_its_first_difference(good, model, words):
    training = with_network(model())
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(good, training.model, training.optimizer)
    assert words in str(caught.value)
    assert "build model and optimizer" in str(caught.value)


def test_another_dtype(good):
    model = small().astype("float64")
    training = with_network(model)
    assert_refused(
        good, "model.0.bias is float32 (3,), yours float64 (3,); ", "; and 7 more", training=training
    )


@pytest.mark.parametrize(
    ("optimizer", "hyperparameters", "words"),
    [
        (SGD, {}, ["optimizer's name is Adam, yours SGD", "optimizer's betas is [0.9, 0.999], yours None"]),
        (Adam, {"betas": (0.8, 0.999)}, ["optimizer's betas is [0.9, 0.999], yours [0.8, 0.999]"]),
        (Adam, {"weight_decay": 0.1}, ["optimizer's weight_decay is 0.0, yours 0.1"]),
    ],
)
def test_another_optimizer(good, optimizer, hyperparameters, words):
    assert_refused(good, *words, training=with_network(small(), optimizer, **hyperparameters))


def test_another_version(good, monkeypatch):
    monkeypatch.setattr("xpcnn.checkpoint.circumstances.__version__", "99.0")
    with pytest.warns(
        ReproducibilityWarning, match=rf"xpcnn is 99\.0 \(was {re.escape(xpcnn.__version__)}\); so the"
    ):
        Training(seed=9).resume(good)


@pytest.mark.parametrize(
    ("images", "batch_size", "words"),
    [(IMAGES, 4, "got 13 in 4"), (IMAGES - 1, BATCH, "got 12 in 3"), (2, 1, "got 2 in 2")],
)
def test_another_data_set_or_batch_size_in_the_middle_of_an_epoch(dataset, good, images, batch_size, words):
    resumed = Training().resume(good)
    with pytest.raises(
        CheckpointError, match=rf"^train: expected the 13 images in 3 steps .* {words}; pass the same"
    ):
        resumed.run((dataset[0][:images], dataset[1][:images]), batch_size=batch_size)
    assert resumed.optimizer.steps == 4


def test_weights_are_no_checkpoint_and_a_checkpoint_is_no_weights(good, tmp_path):
    save_weights(small(), tmp_path / "weights")
    assert_refused(
        tmp_path / "weights", "expected a checkpoint, got weights, which load_weights reads; only a check"
    )
    save_file({"0.bias": np.zeros(3)}, tmp_path / "weights")
    assert_refused(tmp_path / "weights", "without a checksum, such as weights")
    with pytest.raises(CheckpointError, match=r"0\.bias is missing"):
        load_weights(small(), good)


def test_nothing_a_folder_and_an_empty_file(tmp_path):
    assert_refused(tmp_path / "absent", "no such file", "--checkpoint-every")
    assert_refused(tmp_path, "this is a folder")
    (tmp_path / "empty").write_bytes(b"")
    assert_refused(tmp_path / "empty", "the file is empty", "start the run again")
    with pytest.raises(CheckpointError, match="the file is empty"):
        read_config(tmp_path / "empty")


@pytest.mark.parametrize("keep", [1, 7, 8, 9, 10, 500, -1000, -1])
def test_a_truncated_file_says_how_much_is_there(good, keep):
    content = good.read_bytes()[:keep]
    good.write_bytes(content)
    assert_refused(good, f"holds {len(content):,} bytes of the ", "cut short")


def test_a_file_that_goes_on_beyond_its_end(good):
    good.write_bytes(good.read_bytes() + b"more")
    assert_refused(good, "checksum")


@pytest.mark.parametrize("content", [b"garbage " * 100, b"\xff" * 64, bytes(1000), b"\x80\x04pickle" * 9])
def test_what_is_no_safetensors_file(file, content):
    file.write_bytes(content)
    assert_refused(file, "damaged", "start the run again")


@settings(max_examples=150)
@given(data=st.data())
def test_a_flipped_bit_anywhere_is_found(tmp_path_factory, dataset, data):
    """In the header's length, in names, in the configuration, the checksum, the padding, or the numbers."""
    global _content
    file = tmp_path_factory.mktemp("flipped") / "checkpoint.safetensors"
    if not _content:
        stopped(dataset, file, 4)
        _content = file.read_bytes()
    header = 8 + int.from_bytes(_content[:8], "little")
    where = data.draw(st.integers(0, header - 1) | st.integers(0, len(_content) - 1))
    changed = bytearray(_content)
    changed[where] ^= data.draw(st.integers(1, 255))
    file.write_bytes(changed)
    assert_refused(file, training=_victim)


_content, _victim = b"", Training(seed=9)


@pytest.mark.parametrize("value", ["0" * 64, "", "f" * 64, "7"])
def test_a_checksum_of_somebody_s_making(good, value):
    content = good.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"]["checksum"] = value
    text = json.dumps(header, separators=(",", ":")).encode()
    good.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])
    assert_refused(good, "checksum does not fit")


# ---------------------------------------------------------------- what else the bits depend on


def resealed(file, **changed):
    """Write a checkpoint anew with other entries in its metadata, sealed as somebody else could seal it."""
    arrays, metadata = unseal(file)
    metadata |= {name: value for name, value in changed.items() if value is not None}
    for name in [name for name, value in changed.items() if value is None]:
        del metadata[name]
    file.write_bytes(seal(arrays, metadata))


@pytest.mark.parametrize(
    ("name", "value"),
    [("numpy", "1.0"), ("kernels", "somebody's"), ("BLAS", "mkl"), ("instructions", "avr"), ("new", "x")],
)
def test_other_circumstances_are_named_and_the_training_goes_on(dataset, good, name, value):
    saved = circumstances()
    resealed(good, circumstances=json.dumps(saved | {name: value}))
    with pytest.warns(
        ReproducibilityWarning,
        match=re.escape(f"{good}: {name} is {saved.get(name, 'absent')} (was {value}); so the"),
    ) as said:
        resumed = Training(seed=9).resume(good)
    assert len(said) == 1
    assert len(resumed.run(dataset)) == EPOCHS - 1


def test_the_same_circumstances_are_nothing_to_say(good):
    assert json.loads(unseal(good)[1]["circumstances"]) == circumstances()
    Training(seed=9).resume(good)  # a warning would be an error


def test_a_checkpoint_of_before_this_was_recorded_goes_on_in_silence(good):
    resealed(good, circumstances=None)
    Training(seed=9).resume(good)


def test_every_choice_of_kernels_is_a_circumstance():
    found = {}
    for choice in CHOICES:
        with use_backend("numpy", kernels=choice):
            found[choice] = circumstances()["kernels"]
    assert found["reference"] == "reference"
    assert found["pure"] == "numpy"
    assert found["tuned"] in {"numpy", f"numba {version('numba')} and numpy"}


def test_a_gpu_is_a_circumstance():
    runtime = SimpleNamespace(
        getDeviceCount=lambda: 2, getDevice=lambda: 1, runtimeGetVersion=lambda: 13010,
        getDeviceProperties=lambda device: {"name": f"GPU {device}".encode()},
    )  # fmt: skip
    module = ModuleType("cupy")
    module.cuda, module.__version__ = SimpleNamespace(runtime=runtime), "14.2.0"
    with use_backend(Backend("cupy:1", module, np.ndarray, np.asarray, np.asarray)):
        found = circumstances()
    assert found.items() >= {"backend": "cupy", "cupy": "14.2.0", "CUDA": "13010", "GPU": "GPU 1"}.items()


@pytest.mark.parametrize("entry", ["layers", "optimizer", "position", "extra", "xpcnn"])
@pytest.mark.parametrize("value", [None, "", "{", "3", "[]", "{}", "null", '{"steps": "x"}', "[" * 5000])
def test_an_odd_checkpoint_is_one_sentence_and_changes_nothing(good, entry, value):
    resealed(good, **{entry: value})
    if entry == "layers" and value is None:
        Training(seed=9).resume(good)  # as files of version 0.1 are
    else:
        assert_refused(good)


def test_a_checkpoint_of_version_0_1_goes_on(dataset, good):
    """It has the network as text, and the keys of dropouts in place of any layer's extra state."""
    _, metadata = unseal(good)
    keys = {name: state["key"] for name, state in json.loads(metadata["extra"]).items()}
    settings = json.loads(metadata["optimizer"])
    del settings["groups"]
    resealed(
        good, extra=None, layers=None, circumstances=None, network="Sequential(...)", keys=json.dumps(keys),
        optimizer=json.dumps(settings),
    )  # fmt: skip
    whole = Training()
    whole.run(dataset)
    resumed = Training(seed=9).resume(good)
    resumed.run(dataset)
    assert_same(whole.state(), resumed.state())


@pytest.mark.parametrize("value", ["", "{", "3", "[1]", "null", "[" * 5000])
@pytest.mark.parametrize("entry", ["config", "circumstances"])
def test_an_odd_configuration_is_one_sentence(good, entry, value):
    resealed(good, **{entry: value})
    if entry == "circumstances":
        assert_refused(good)
    else:
        with pytest.raises(CheckpointError, match="its config cannot be read"):
            read_config(good)


@pytest.mark.parametrize(
    "changed",
    [{"epoch": "x"}, {"step": None}, {"start": 3}, {"start": {}}, {"generator": {}}, {"generator": 3}, {"epoch": -1},
     {"step": 99}, {"epoch": 1.5}, {"images": -3}, {"generator": {"bit_generator": "PCG64", "state": {"state": -1}}},
     {"start": {"bit_generator": "Dice"}}],
)  # fmt: skip
def test_an_odd_position_is_one_sentence_and_changes_nothing(good, changed):
    position = json.loads(unseal(good)[1]["position"])
    resealed(good, position=json.dumps(position | changed))
    assert_refused(good, "position")


@pytest.mark.parametrize("losses", [None, np.zeros((3, 1), np.float32), np.zeros(3, np.int32)])
def test_odd_losses_are_one_sentence_and_change_nothing(good, losses):
    arrays, metadata = unseal(good)
    del arrays["losses"]
    good.write_bytes(seal(arrays | ({} if losses is None else {"losses": losses}), metadata))
    assert_refused(good, "losses")
