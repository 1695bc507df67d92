"""What a training step asks of the device, with budgets; and faults, planted to show that the budgets find them."""

import functools

import numpy as np
import pytest
from kernels.test_substitutes import examples
from layers.test_contract import EXAMPLES
from models.test_papers import narrow
from simulated.conftest import planted, recording
from strategies import upload

from xpcnn import models, ops, optimizers, training
from xpcnn.backend import to_device, to_host
from xpcnn.debug.compare import running
from xpcnn.debug.tracing import traced
from xpcnn.errors import BackendError
from xpcnn.layers import Buffer, Parameter
from xpcnn.losses import MeanSquaredError, SoftmaxCrossEntropy
from xpcnn.optimizers import Adam, Momentum
from xpcnn.simulated import dtype_ledger, ledger
from xpcnn.training import loop

SMALL = ("simple", "deep", "lenet5")
BATCHES, SIZE = 3, 4


@pytest.fixture(params=["reference", "tuned"])
def device(request):
    """The simulated device, without and with its CUDA kernels."""
    with running(f"simulated:{request.param}") as active:
        if request.param == "tuned" and not active.kernels:
            pytest.skip(active.remark)
        yield request.param


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (BATCHES * SIZE, 1, 28, 28), np.uint8), rng.integers(0, 10, BATCHES * SIZE)


def parts(name="simple"):
    model = models.BY_NAME[name](10, 0)
    return model, SoftmaxCrossEntropy(), Adam(model.parameters(), 1e-3, weight_decay=1e-4, clip_norm=1.0)


def assert_within_budget(train, dataset, name="simple"):
    """An epoch uploads images and labels of each batch, and downloads once; a step waits for nothing."""
    model, criterion, optimizer = parts(name)
    with ledger() as counts:
        ((_, loss),) = train(model, criterion, optimizer, dataset, epochs=1, batch_size=SIZE, rng=0)
    assert np.isfinite(loss)
    assert counts.uploads <= 2 * BATCHES, f"more than images and labels were uploaded:\n{counts}"
    assert counts.synchronisations == counts.downloads == 1, f"a step waits for the device:\n{counts}"
    return counts


# ---------------------------------------------------------------- budgets


@pytest.mark.parametrize("name", SMALL)
def test_an_epoch_uploads_its_batches_and_downloads_once(device, dataset, name):
    counts = assert_within_budget(training.train, dataset, name)
    assert {site.partition(":")[0] for _, site in counts.calls("upload")} == {"training/loop.py"}


@pytest.mark.parametrize("name", SMALL)
def test_an_evaluation_downloads_once_a_batch(device, dataset, name):
    model, *_ = parts(name)
    with ledger() as counts:
        training.evaluate(model, dataset, batch_size=SIZE)
    assert counts.downloads == counts.synchronisations == BATCHES
    assert counts.uploads == BATCHES


def test_augmentation_and_a_schedule_cost_no_wait(device, dataset):
    def train(*args, **settings):
        return training.train(
            *args, **settings, transform=lambda images, rng: images[:, :, ::-1], schedule=lambda step: 0.01
        )

    assert_within_budget(train, dataset)


def test_labels_that_weigh_differently_cost_no_wait(device, dataset):
    """What a batch weighs in the mean is counted on the host, before its labels are uploaded."""

    criterion = SoftmaxCrossEntropy(class_weight=np.arange(1, 11), ignore_index=3)
    criterion(to_device(np.eye(10, dtype=np.float32)), to_device(np.arange(10)))  # uploads the class weights

    def train(model, _, *rest, **settings):
        return training.train(model, criterion, *rest, **settings)

    assert_within_budget(train, dataset)


@pytest.mark.parametrize("optimizer", optimizers.BY_NAME)
def test_no_optimizer_waits(device, optimizer):
    model = models.BY_NAME["simple"](10, 0, input_shape=(1, 8, 8))
    updated = optimizers.BY_NAME[optimizer](model.parameters(), weight_decay=1e-3, clip_norm=1.0)
    with ledger() as counts:
        updated.step()
    assert (counts.uploads, counts.synchronisations) == (0, 0), f"\n{counts}"


@pytest.mark.parametrize("example", range(len(EXAMPLES)))
def test_no_layer_waits_uploads_or_promotes(device, example):
    make, shape = EXAMPLES[example]
    layer, x = make(), to_device(np.random.default_rng(0).random(shape, np.float32))
    with dtype_ledger(functools.partial(traced, layer)), ledger() as counts:
        layer.backward(layer(x))
        layer.eval()(x)
    assert (counts.uploads, counts.synchronisations) == (0, 0), f"\n{counts}"


@pytest.mark.parametrize("criterion", [SoftmaxCrossEntropy, MeanSquaredError])
def test_no_loss_waits_uploads_or_promotes(device, criterion):
    criterion, y = criterion(), to_device(np.eye(4, dtype=np.float32))
    with dtype_ledger(), ledger() as counts:
        criterion(y, y)
        criterion.backward()
    assert (counts.uploads, counts.synchronisations) == (0, 0), f"\n{counts}"


# ---------------------------------------------------------------- planted faults


def test_the_text_as_it_is_passes(dataset):
    assert_within_budget(planted(training.train, "_upload(images)", "_upload(images)"), dataset)


@pytest.mark.parametrize("missing", ["images", "targets"])
def test_a_missing_upload_is_found(dataset, missing):
    train = planted(training.train, f"_upload({missing})", missing)
    with pytest.raises(
        BackendError, match=r"got a numpy array, but the active backend is simulated; pass to_device\(x\)"
    ):
        assert_within_budget(train, dataset)


def test_a_missing_upload_in_predict_is_found(dataset, monkeypatch):
    outputs = planted(loop._outputs, "_upload(images)", "images")
    monkeypatch.setattr(loop, "_outputs", outputs)
    with pytest.raises(BackendError, match=r"pass to_device\(x\)"):
        training.predict(parts()[0], dataset[0])


@pytest.mark.parametrize("kind", [Parameter, Buffer])
def test_a_missing_upload_of_a_layers_state_is_found(dataset, monkeypatch, kind):
    monkeypatch.setattr(kind, "__init__", planted(kind.__init__, "to_device(data)", "data"))
    with pytest.raises((BackendError, TypeError), match="to_device"):
        assert_within_budget(training.train, dataset, "deep")


@pytest.mark.parametrize(
    "stray", ["float(loss)", "loss.item()", "str(loss)", "assert loss > 0", "seen = to_host(loss)"]
)
def test_a_stray_look_at_the_loss_is_found(dataset, monkeypatch, stray):
    sound = "loss = criterion(y, targets)"
    monkeypatch.setattr(loop, "step", planted(training.step, sound, f"{sound}; {stray}", to_host=to_host))
    with pytest.raises(
        AssertionError, match=r"a step waits for the device:\n(.*\n)*\s*training/step\.py:\d+"
    ):
        assert_within_budget(training.train, dataset)


def test_an_upload_too_many_is_found(dataset, monkeypatch):
    sound, more = "loss = criterion(y, targets)", "more = to_device(np.float32(1))"
    step = planted(training.step, sound, f"{sound}; {more}", to_device=to_device, np=np)
    monkeypatch.setattr(loop, "step", step)
    with pytest.raises(AssertionError, match="more than images and labels were uploaded"):
        assert_within_budget(training.train, dataset)


# ---------------------------------------------------------------- what a CUDA graph could record today

NOT_CAPTURABLE = {
    "affine", "affine_backward", "conv", "conv_backward", "conv_transpose", "conv_transpose_backward",
    "upsample_bilinear", "upsample_bilinear_backward",
}  # fmt: skip
"""Ops with a matrix product through CuPy's wrapper of cuBLAS."""


def test_all_ops_but_those_with_a_matrix_product_are_capturable():
    calls = {}
    for name, arguments in examples("float32"):
        on_device = [upload(value) if isinstance(value, np.ndarray) else value for value in arguments]
        with recording(survey=True) as forbidden:
            getattr(ops, name).__wrapped__(*on_device)
        calls.setdefault(name, set()).update(call for call, _, _ in forbidden)
    assert calls.keys() == set(ops.__all__)
    assert {name: found for name, found in calls.items() if found} == {
        name: {"matmul"} for name in NOT_CAPTURABLE
    }


# ---------------------------------------------------------------- the same numbers

every_model = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "deep" else ()) for name in SMALL]
)


@functools.cache
def losses(backend, name, steps=20, batch_size=5):
    with running(backend):
        rng = np.random.default_rng(0)
        images = rng.random((steps, batch_size, 1, 28, 28), np.float32)
        labels = rng.integers(0, 10, (steps, batch_size))
        model = models.BY_NAME[name](10, rng)
        losses, criterion, optimizer = [], SoftmaxCrossEntropy(), Adam(model.parameters(), 1e-3)
        for x, t in zip(images, labels, strict=True):
            losses.append(criterion(model(to_device(x)), to_device(t)))
            model.backward(criterion.backward(), need_dx=False)
            optimizer.step()
        return [float(loss) for loss in losses]


@every_model
def test_20_steps_give_the_losses_of_numpy_bit_for_bit(name):
    """The reference does the same operations in the same order on both."""
    numpys = losses("numpy:reference", name)
    assert losses("simulated:reference", name) == numpys
    assert numpys[-1] != numpys[0]


@every_model
def test_20_steps_with_kernels_give_the_losses_of_numpy_within_rounding(name):
    """Kernels sum in another order."""
    with running("simulated:tuned") as active:
        if not active.kernels:
            pytest.skip(active.remark)
    np.testing.assert_allclose(losses("simulated:tuned", name), losses("numpy:reference", name), rtol=1e-6)


EXACT = {
    "lenet5_1998", "alexnet", "alexnet_one_stream", "alexnet_torchvision", "googlenet",
    "resnet20", "resnet32", "resnet44", "resnet56", "resnet110",
}  # fmt: skip
"""Larger networks whose losses are equal bit for bit. In the others images shrink to one pixel here: then a reshape
copies nothing, and sums and products meet the memory order that NumPy keeps and CuPy does not."""


def three_losses(name, backend, dtype):
    with running(backend), ledger() as counts:
        model, shape = narrow(name)
        model.astype(dtype)
        criterion, optimizer = SoftmaxCrossEntropy(), Momentum(model.parameters())
        x = to_device(np.random.default_rng(0).random((2, *shape), dtype))
        t, losses = to_device(np.array([1, 2])), []
        counts.clear()
        for _ in range(3):
            losses.append(criterion(model(x), t))
            model.backward(criterion.backward(), need_dx=False)
            optimizer.step()
        assert (counts.uploads, counts.synchronisations) == (0, 0), f"\n{counts}"
        return [float(loss) for loss in losses]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(models.BY_NAME.keys() - set(SMALL)))
def test_the_larger_networks_wait_for_nothing_and_give_numpys_losses(name):
    """Fewer channels, on images as small as they take."""
    numpys, simulated = (three_losses(name, f"{b}:reference", "float32") for b in ("numpy", "simulated"))
    if name in EXACT:
        assert simulated == numpys
        return
    assert simulated[0] == pytest.approx(numpys[0], rel=1e-6)
    # normalising two numbers multiplies rounding errors: in float64 there is room for that
    numpys, simulated = (three_losses(name, f"{b}:reference", "float64") for b in ("numpy", "simulated"))
    assert simulated == pytest.approx(numpys, rel=1e-6)
