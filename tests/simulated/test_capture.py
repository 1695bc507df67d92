"""What a graph would replay wrongly: state bound to a new array, numbers that change, the legacy default stream."""

import copy

import numpy as np
import pytest
from simulated.conftest import planted, recording

from xpcnn import models, optimizers, schedules
from xpcnn.backend import synchronize, to_device, to_host, use_backend, xp
from xpcnn.checkpoint import load_checkpoint, load_weights, save_checkpoint, save_weights
from xpcnn.debug.compare import running
from xpcnn.layers import Affine, BatchNorm, Dropout, Sequential
from xpcnn.layers.base import Buffer, Layer
from xpcnn.losses import L1, BinaryCrossEntropy, Huber, MeanSquaredError, SoftmaxCrossEntropy
from xpcnn.optimizers import SGD, Adam, AdamW
from xpcnn.simulated import capturing
from xpcnn.simulated.events import CaptureError
from xpcnn.training.state import Position

SMALL = ("simple", "deep", "lenet5", "resnet20")


@pytest.fixture(params=["reference", "tuned"])
def device(request):
    """The simulated device, without and with its CUDA kernels."""
    with running(f"simulated:{request.param}") as active:
        if request.param == "tuned" and not active.kernels:
            pytest.skip(active.remark)
        yield request.param


@pytest.fixture
def x():
    return to_device(np.random.default_rng(0).random((4, 3), np.float32))


class Step:
    """A training step on one batch that stays where it is."""

    def __init__(self, name="simple", optimizer=SGD, schedule=None):
        rng = np.random.default_rng(0)
        shape = (3, 16, 16) if name == "resnet20" else (1, 28, 28)
        self.model = models.BY_NAME[name](10, 0, input_shape=shape)
        self.criterion = SoftmaxCrossEntropy()
        self.optimizer, self.schedule = optimizer(self.model.parameters(), 0.01), schedule
        self.x, self.t = to_device(rng.random((2, *shape), np.float32)), to_device(np.array([1, 2]))

    def __call__(self):
        if self.schedule is not None:
            self.optimizer.lr = self.schedule(self.optimizer.steps)
        self.criterion(self.model(self.x), self.t)
        self.model.backward(self.criterion.backward(), need_dx=False)
        self.optimizer.step()

    @property
    def state(self):
        return self.model, self.criterion, self.optimizer


def found(step, *state, warm_up=1):
    """What a survey of the capture finds, without the products by cuBLAS."""
    synchronize()
    for _ in range(warm_up):
        step()
    with recording(*state, survey=True) as forbidden:
        step()
    return [item for item in forbidden if item.call != "matmul"]


# ---------------------------------------------------------------- the networks


@pytest.mark.parametrize("name", SMALL)
def test_a_step_is_capturable_but_for_its_matrix_products(device, name):
    step = Step(name)
    assert found(step, *step.state) == []
    with recording(survey=True) as forbidden:
        step()
    assert {item.call for item in forbidden} == {"matmul"}


@pytest.mark.parametrize(
    ("criterion", "target"),
    [
        (SoftmaxCrossEntropy(1, 0.1, (1, 2, 3), 255), np.array([0, 255, 2, 1])),
        (SoftmaxCrossEntropy(reduction="sum"), np.eye(4, 3, dtype=np.float32)),
        *(
            (kind(), np.eye(4, 3, dtype=np.float32))
            for kind in (MeanSquaredError, L1, Huber, BinaryCrossEntropy)
        ),
        (BinaryCrossEntropy(2.0), np.eye(4, 3, dtype=np.float32)),
    ],
    ids=repr,
)
def test_every_loss_is_capturable(device, x, criterion, target):
    target = to_device(target)

    def step():
        criterion(x, target)
        criterion.backward()

    assert found(step, criterion) == []


@pytest.mark.parametrize("optimizer", optimizers.BY_NAME)
def test_the_step_count_of_adam_is_the_only_number_of_an_optimizer_that_changes(device, optimizer):
    step = Step(optimizer=optimizers.BY_NAME[optimizer])
    changed = found(step, *step.state, warm_up=2)
    if not optimizer.startswith("adam"):
        assert changed == []
        return
    assert changed
    assert all("ops/update.py" in item.site or "cuda/update.py" in item.site for item in changed)
    assert all(
        "in the step before and" in item.why and "in an array on the device" in item.why for item in changed
    )


@pytest.mark.parametrize("warm_up", [1, 2, 3])
def test_a_learning_rate_under_a_schedule_is_refused(device, warm_up):
    step = Step(schedule=schedules.cosine(0.1, 10))
    (changed, *_) = found(step, warm_up=warm_up)
    assert f"was given {0.1 if warm_up == 1 else step.schedule(warm_up - 1):.3}"[:14] in changed.why
    assert found(Step(schedule=schedules.constant(0.1)), warm_up=warm_up) == []


def test_without_a_survey_the_step_count_raises_at_the_end_of_the_block():
    theta, g = to_device(np.ones((2, 3), np.float32))
    state = xp.zeros_like(theta), xp.zeros_like(theta)
    from xpcnn import ops

    def step(t):
        ops.adam_update(theta, g, *state, 0.1, (0.9, 0.999), 1e-8, t)

    step(1)
    with (
        pytest.raises(
            CaptureError, match=r"multiply at ops/update\.py:\d+: .* in an array on the device, let the"
        ),
        recording(),
    ):
        step(2)
    with recording():
        step(2)  # the same number as before


# ---------------------------------------------------------------- the legacy default stream


def test_the_legacy_default_stream_is_refused(x):
    with (
        pytest.raises(
            CaptureError, match=r"legacy default stream, which cannot be captured; open `with xp\.cuda\."
        ),
        capturing(),
    ):
        pass
    with pytest.raises(CaptureError, match="legacy default stream"), xp.cuda.Stream.null, capturing():
        pass
    with (
        pytest.raises(CaptureError, match=r"add at simulated/test_capture\.py:\d+.*legacy default stream"),
        recording(),
        xp.cuda.Stream.null,
    ):
        x + 1
    with capturing(survey=True) as forbidden:
        x + 1
    assert {item.call for item in forbidden} == {"capturing"}


def test_a_stream_without_a_part_in_the_capture_is_refused(x):
    other, synchronized = xp.cuda.Stream(non_blocking=True), xp.cuda.Stream(non_blocking=True)
    with pytest.raises(CaptureError, match="does not belong to the capture"), recording(), other:
        x + 1
    with recording():
        synchronized.wait_event(xp.cuda.get_current_stream().record())
        with synchronized:
            y = x + 1
        xp.cuda.get_current_stream().wait_event(synchronized.record())
        y += 1


def test_a_capture_needs_the_weights_to_be_there(x):
    """What was uploaded in the null stream is not ordered before a stream of one's own."""
    with (
        pytest.raises(Exception, match="nothing orders the two"),
        xp.cuda.Stream(non_blocking=True),
        capturing(),
    ):
        x + 1


def test_survey_goes_by_name():
    with pytest.raises(TypeError, match="survey=True"):
        capturing(True)


# ---------------------------------------------------------------- state that is bound to a new array


class Rebinding(Layer):
    """A small wrong program: what it counts is a new array each time."""

    def __init__(self, keep=None):
        self.count, self.keep = Buffer(np.zeros(1, np.float32)), keep

    def forward(self, x):
        if self.keep is not None:
            self.keep.append(self.count.data)
        self.count.data = self.count.data + 1
        return x * self.count.data


class InPlace(Rebinding):
    def forward(self, x):
        self.count.data += 1
        return x * self.count.data


def test_an_array_that_is_released_is_refused_at_the_first_capture(x):
    layer = Rebinding()
    with (
        pytest.raises(
            CaptureError, match=r"add at .*test_capture\.py:\d+.*released.*write in place, x\[\.\.\.\] = new"
        ),
        recording(),
    ):
        layer(x)
    counting = InPlace()
    synchronize()
    with recording(counting):
        counting(x)


def test_an_attribute_bound_to_another_array_is_refused_though_somebody_holds_the_old_one(x):
    layer = Rebinding(keep=[])
    with (
        pytest.raises(
            CaptureError, match=r"uses Rebinding\.count\.data, which is bound to another array afterwards"
        ),
        recording(layer),
    ):
        layer(x)


def test_what_the_step_before_made_is_refused_without_being_told_of_the_layer(x):
    layer = Rebinding(keep=[])
    (item,) = found(lambda: layer(x))
    assert (item.call, "another array than in the step before" in item.why) == ("add", True)
    assert found(lambda: layer(x), warm_up=3)


@pytest.mark.parametrize(
    "hide", [lambda b: [b], lambda b: (0, {"b": b}), lambda b: {"a": {"b": [b]}}, lambda b: Sequential(b)]
)
def test_state_is_found_wherever_it_is_kept(x, hide):
    layer = Rebinding(keep=[])
    with pytest.raises(CaptureError, match=r"count\.data"), recording(hide(layer)):
        layer(x)


def test_two_arrays_exchanged_are_refused(x):
    class PingPong:
        def __init__(self):
            self.old, self.new = xp.zeros_like(x), xp.zeros_like(x)

        def __call__(self):
            self.new[...] = self.old + x
            self.old, self.new = self.new, self.old

    step = PingPong()
    assert found(step, step, warm_up=0)
    assert found(step)
    synchronize()


def test_another_batch_is_another_array():
    weight, batches = to_device(np.ones(3, np.float32)), [to_device(np.ones(3, np.float32)) for _ in range(3)]

    def step():
        weight[...] = weight - 0.1 * batches.pop()

    assert any("another array" in item.why for item in found(step))


def test_an_index_that_counts_is_a_number_that_changes(x):
    losses = xp.zeros(10, xp.float32)

    class Step:
        at = 0

        def __call__(self):
            losses[self.at] = x.sum()
            self.at += 1

    assert found(Step())


def test_what_a_step_makes_for_itself_may_be_another_array_each_time(x):
    kept = []

    def step():
        kept.append((x * 2).sum())  # a result, which the next step does not read

    assert found(step, warm_up=3) == []


def test_other_models_at_the_same_lines_are_no_step_before(x):
    """The same launches from the same lines, on other arrays and with other numbers."""
    for p in (0.1, 0.5, 0.9):
        layer = Dropout(p, rng=0)
        assert found(lambda layer=layer: layer(x), warm_up=0) == []
    for lr in (0.1, 0.2):
        step = Step()
        step.optimizer.lr = lr
        assert found(step, warm_up=0) == []
    for momentum in (0.1, 0.5):
        norm = BatchNorm(3, momentum=momentum)
        assert found(lambda norm=norm: norm(x), norm, warm_up=0) == []


def test_numbers_that_are_not_numbers_are_equal(x):
    assert found(lambda: x * float("nan")) == []


# ---------------------------------------------------------------- the layers' state keeps its address

STATE = {
    "Dropout": (lambda: Dropout(0.5, rng=0), ("counter",)),
    "BatchNorm": (lambda: BatchNorm(3), ("running_mean", "running_variance")),
}


@pytest.mark.parametrize("name", STATE)
def test_state_is_written_in_place(device, x, name):
    make, buffers = STATE[name]
    layer = make()
    before = {
        buffer: (getattr(layer, buffer).data, to_host(getattr(layer, buffer).data).copy())
        for buffer in buffers
    }
    layer(x)
    for buffer, (array, values) in before.items():
        assert getattr(layer, buffer).data is array
        assert (to_host(array) != values).any()
    assert found(lambda: layer(x), layer) == []


@pytest.mark.parametrize("backend", ["numpy", "simulated"])
@pytest.mark.parametrize("name", STATE)
def test_a_copy_has_state_of_its_own(name, backend):
    with use_backend(backend):
        make, buffers = STATE[name]
        layer, x = make(), to_device(np.random.default_rng(0).random((4, 3), np.float32))
        layer(x)
        for twin in (layer.copy(), copy.deepcopy(layer)):
            ours = [to_host(getattr(layer, buffer).data).copy() for buffer in buffers]
            for buffer, values in zip(buffers, ours, strict=True):
                np.testing.assert_array_equal(to_host(getattr(twin, buffer).data), values)
            twin(x + 1)
            for buffer, values in zip(buffers, ours, strict=True):
                np.testing.assert_array_equal(to_host(getattr(layer, buffer).data), values)
                assert (to_host(getattr(twin, buffer).data) != values).any()


@pytest.mark.parametrize("backend", ["numpy", "simulated"])
def test_weights_and_checkpoints_are_read_into_the_arrays_that_are_there(backend, tmp_path):
    """So a step that was recorded before sees them."""
    with use_backend(backend):
        x = to_device(np.random.default_rng(0).random((4, 3), np.float32))
        models = [Sequential(Affine(3, 3, rng=0), BatchNorm(3), Dropout(0.5, rng=seed)) for seed in (0, 1)]
        saved, loaded = [(model, Adam(model.parameters())) for model in models]
        for _ in range(3):
            saved[0].backward(saved[0](x))
            saved[1].step()
        save_weights(saved[0], tmp_path / "weights.safetensors")
        save_checkpoint(tmp_path / "checkpoint", *saved, Position(0))
        kept = [value.data for value in loaded[0]._arrays()] + list(loaded[1].state.values())
        load_weights(loaded[0], tmp_path / "weights.safetensors")
        load_checkpoint(tmp_path / "checkpoint", *loaded)
        now = [value.data for value in loaded[0]._arrays()] + list(loaded[1].state.values())
        assert all(a is b for a, b in zip(kept, now, strict=True))
        for _ in range(2):  # the same masks, the same running statistics
            np.testing.assert_array_equal(to_host(loaded[0](x)), to_host(saved[0](x)))


def test_a_counter_planted_as_a_new_array_is_found(device, x, monkeypatch):
    fault = planted(Dropout.forward, "self.counter.data += ", "self.counter.data = self.counter.data + ")
    monkeypatch.setattr(Dropout, "forward", fault)
    layer = Dropout(0.5, rng=0)
    assert found(lambda: layer(x), warm_up=0)
    assert found(lambda: layer(x), layer, warm_up=0)
    assert found(lambda: layer(x), warm_up=1)


@pytest.mark.parametrize("told", [True, False])
def test_running_statistics_planted_as_new_arrays_are_found(device, x, monkeypatch, told):
    def follow(self, running, batch):
        running.data = running.data * (1 - self.momentum) + batch * self.momentum

    monkeypatch.setattr(BatchNorm, "_follow", follow)
    layer = BatchNorm(3)
    assert found(lambda: layer(x), *([layer] if told else []), warm_up=0)


@pytest.mark.parametrize("optimizer", [Adam, AdamW])
def test_parameters_that_somebody_rebinds_are_found(optimizer):
    step = Step(optimizer=optimizer)

    def rebinding():
        step()
        parameter = step.model.parameters()[0]
        parameter.data = parameter.data * 1

    assert any("bound to another array" in item.why for item in found(rebinding, *step.state))
