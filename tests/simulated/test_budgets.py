"""What a training step may cost on a device: launches, allocations, bytes, copies and waits, whatever the batch.

A budget is what the step costs today. Who makes a step cheaper lowers it; who raises one says why in the commit.
The tables below are printed by

    PYTHONPATH=tests python -c "from simulated.test_budgets import show; show()"
"""

import functools

import numpy as np
import pytest

from xpcnn import models, ops
from xpcnn.backend import to_device, to_host, xp
from xpcnn.debug.compare import running
from xpcnn.errors import KernelError
from xpcnn.geometry import Window
from xpcnn.kernels.cuda import conv as cuda_conv
from xpcnn.kernels.cuda import geometry
from xpcnn.kernels.cuda.source import signatures
from xpcnn.layers import GELU, Affine, GroupNorm, LayerNorm, LeakyReLU, Sequential, Sigmoid, SiLU, Tanh
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import Adam
from xpcnn.simulated import device_memory, ledger
from xpcnn.simulated.cuda import RawKernel
from xpcnn.simulated.memory import OutOfMemoryError

SIZES = 2, 7

BUDGETS = {
    # kernels, network: launches, allocations
    ("tuned", "simple"): (36, 29),
    ("tuned", "lenet5"): (64, 51),
    ("tuned", "deep"): (131, 105),
    ("tuned", "resnet20"): (606, 474),
    ("reference", "simple"): (134, 70),
    ("reference", "lenet5"): (260, 113),
    ("reference", "deep"): (392, 211),
    ("reference", "resnet20"): (1647, 1036),
}

BYTES = {
    # kernels, network: for each of SIZES the bytes that launches move, and the most that new arrays hold at a time
    ("tuned", "simple"): ((14_250_308, 401_152), (19_483_588, 1_396_232)),
    ("tuned", "lenet5"): ((3_763_556, 302_656), (8_771_156, 1_058_976)),
    ("tuned", "deep"): ((23_328_352, 2_314_576), (70_842_422, 8_100_696)),
    ("tuned", "resnet20"): ((18_152_036, 368_080), (36_402_036, 1_038_744)),
    ("reference", "simple"): ((50_767_128, 5_207_544), (60_523_058, 5_207_544)),
    ("reference", "lenet5"): ((9_911_192, 741_624), (18_004_242, 1_025_984)),
    ("reference", "deep"): ((41_819_004, 2_229_008), (112_987_864, 7_801_368)),
    ("reference", "resnet20"): ((41_917_032, 3_239_544), (73_498_122, 3_239_544)),
}


def shape_of(name):
    return (3, 8, 8) if name == "resnet20" else (1, 28, 28)


def cost(kernels, name, batch_size):
    """Return the ledger of a step, and the most that the arrays made in it hold at a time."""
    with running(f"simulated:{kernels}") as active:
        if kernels == "tuned" and not active.kernels:
            pytest.skip(active.remark)
        rng, shape = np.random.default_rng(0), shape_of(name)
        model, criterion = models.BY_NAME[name](10, 0, input_shape=shape), SoftmaxCrossEntropy()
        optimizer = Adam(model.parameters())
        images, labels = rng.random((batch_size, *shape), np.float32), rng.integers(0, 10, batch_size)
        with ledger() as counts, device_memory() as memory:
            criterion(model(to_device(images)), to_device(labels))
            model.backward(criterion.backward(), need_dx=False)
            optimizer.step()
    return counts, memory.peak


known_cost = functools.cache(cost)


def assert_within_budget(kernels, name, measure=known_cost):
    for size in SIZES:
        counts, peak = measure(kernels, name, size)
        launches, allocations = BUDGETS[kernels, name]
        moved, held = BYTES[kernels, name][SIZES.index(size)]
        assert counts.launches <= launches, f"{counts.launches} launches in a batch of {size}\n{counts}"
        assert counts.allocations <= allocations, (
            f"{counts.allocations} allocations in a batch of {size}\n{counts}"
        )
        assert counts.bytes_moved <= moved, (
            f"{counts.bytes_moved:,} bytes moved in a batch of {size}\n{counts}"
        )
        assert peak <= held, f"{peak:,} bytes held in a batch of {size}\n{counts}"
        assert (counts.uploads, counts.downloads, counts.synchronisations) == (2, 0, 0), f"\n{counts}"
        assert counts.bytes_uploaded == size * (4 * np.prod(shape_of(name)) + 8)


def show():
    """Print what a step costs now, as the two tables have it."""
    for key in BUDGETS:
        costs = [cost(*key, size) for size in SIZES]
        print(f"{key}: {costs[0][0].launches, costs[0][0].allocations},")
        print(f"{key}: ({', '.join(f'({counts.bytes_moved:_}, {peak:_})' for counts, peak in costs)}),")


every_network = pytest.mark.parametrize(("kernels", "name"), BUDGETS)


@every_network
def test_a_step_is_within_its_budget(kernels, name):
    assert_within_budget(kernels, name)


@every_network
def test_what_a_step_launches_and_allocates_is_the_same_for_every_batch(kernels, name):
    two, seven = (known_cost(kernels, name, size)[0] for size in SIZES)
    calls = [
        sorted((call, number) for (call, _), number in counts.calls("launch").items())
        for counts in (two, seven)
    ]
    assert calls[0] == calls[1]
    assert two.allocations == seven.allocations


# ---------------------------------------------------------------- faults, planted


def test_a_launch_for_each_image_is_found(monkeypatch):
    monkeypatch.setitem(cuda_conv.__globals__, "WORKSPACE", 1)
    with pytest.raises(AssertionError, match="launches in a batch of 2"):
        assert_within_budget("tuned", "simple", cost)


def test_a_copy_too_many_is_found(monkeypatch):
    sound = ops.relu_max_pool
    monkeypatch.setattr(ops, "relu_max_pool", lambda x, window: sound(x.copy(), window))
    with pytest.raises(AssertionError, match="launches in a batch of 2"):
        assert_within_budget("tuned", "simple", cost)


@pytest.mark.parametrize("stray", ["float(x[0, 0])", "to_host(x)", "to_device(np.zeros(1))"])
def test_a_stray_copy_or_wait_in_a_layer_is_found(monkeypatch, stray):
    sound = Affine.forward

    def forward(self, x):
        eval(stray, {"x": x, "to_host": to_host, "to_device": to_device, "np": np})
        return sound(self, x)

    monkeypatch.setattr(Affine, "forward", forward)
    with pytest.raises(AssertionError):
        assert_within_budget("reference", "simple", cost)


def test_what_is_kept_too_long_is_found(monkeypatch):
    kept, sound = [], Affine.forward
    monkeypatch.setattr(Affine, "forward", lambda self, x: kept.append(x * 1) or sound(self, x))
    with pytest.raises(AssertionError):
        assert_within_budget("reference", "simple", cost)


# ---------------------------------------------------------------- the workspace of a convolution

PIECES = 2
"""In which 2^28 bytes hold the columns of the batch below; in all these are 462 million bytes."""


@pytest.fixture
def large(tuned, monkeypatch):
    """A function that convolves, with columns that exceed the workspace; nothing is computed.

    It returns the bytes of the result and the number of launches.
    """
    if not tuned.kernels:
        pytest.skip(tuned.remark)
    monkeypatch.setattr(RawKernel, "__call__", lambda self, *args, **kwargs: launches.append(self.name))
    monkeypatch.setitem(
        cuda_conv.__globals__, "_multiply", lambda a, b: xp.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
    )
    launches = []
    shapes = {"x": (32, 32, 112, 112), "weight": (8, 32, 3, 3), "bias": (8,), "dy": (32, 8, 112, 112)}
    given = {name: to_device(np.zeros(shape, np.float32)) for name, shape in shapes.items()}

    def convolve(op="conv", names=("x", "weight", "bias")):
        launches.clear()
        results = tuned.kernels[op](*(given[name] for name in names), Window(3, 1, 1))
        results = results if isinstance(results, tuple) else (results,)
        return sum(result.nbytes for result in results), len(launches)

    return convolve


LIMIT = 2**28 + 40 * 2**20
"""Columns, and beside them the result (13 MB) and a piece of the product (8 MB)."""


def test_columns_stay_within_the_workspace(large):
    with device_memory(LIMIT) as memory:
        nbytes, launches = large()
    assert launches <= 2 * PIECES
    assert nbytes < memory.peak < LIMIT


def test_backward_takes_two_workspaces_for_its_columns_and_theirs(large):
    with device_memory(2 * LIMIT + 50 * 2**20) as memory:  # and dx, 51 MB
        nbytes, launches = large("conv_backward", ("dy", "x", "weight"))
    assert launches <= 4 * PIECES
    assert nbytes < memory.peak


def test_a_workspace_of_2_to_the_34_bytes_is_found(large, monkeypatch):
    monkeypatch.setitem(cuda_conv.__globals__, "WORKSPACE", 2**34)
    with (
        pytest.raises(OutOfMemoryError, match="out of memory allocating 462,422,016 bytes"),
        device_memory(LIMIT),
    ):
        large()


def test_a_workspace_of_one_byte_is_found(large, monkeypatch):
    monkeypatch.setitem(cuda_conv.__globals__, "WORKSPACE", 1)
    _, launches = large()
    assert launches > 2 * PIECES


# ---------------------------------------------------------------- ops of one or two launches

LAUNCHES = {
    **{kind.__name__: (kind, 1, 1) for kind in (GELU, LeakyReLU, SiLU, Sigmoid, Tanh)},
    "GroupNorm": (lambda: GroupNorm(2, 4), 1, 4),
    "LayerNorm": (lambda: LayerNorm((4, 5, 5)), 1, 4),
}
"""Launches forward and backward; of a normalisation's four, two write the gradients into the optimizer's buffer."""


@pytest.mark.parametrize("name", LAUNCHES)
def test_an_activation_and_a_normalisation_are_one_launch(tuned, name):
    if not tuned.kernels:
        pytest.skip(tuned.remark)
    make, forward, backward = LAUNCHES[name]
    model, x = Sequential(make()), to_device(np.random.default_rng(0).random((3, 4, 5, 5), np.float32))
    with ledger() as counts:
        y = model(x)
        assert counts.launches == forward, f"\n{counts}"
        counts.clear()
        model.backward(y)
    assert counts.launches <= backward, f"\n{counts}"


# ---------------------------------------------------------------- a kernel is given what it needs


@pytest.mark.parametrize("kernel", signatures())
def test_every_array_of_a_kernel_has_a_size_that_each_launch_checks(kernel):
    for parameter in signatures()[kernel].parameters:
        assert not parameter.pointer or parameter.shape, f"{kernel}: {parameter.name} is of any size"


def test_a_kernel_given_too_little_memory_is_refused(tuned):
    if not tuned.kernels:
        pytest.skip(tuned.remark)
    device = tuned.kernels["im2col"].args[0]
    x, cols = to_device(np.zeros(36, np.float32)), to_device(np.zeros(9 * 16 - 1, np.float32))
    lengths = geometry.lengths((1, 1, 6, 6), Window(3))
    with pytest.raises(KernelError, match=r"im2col: argument 'cols': expected .* = 144 elements, got 143"):
        device.launch("im2col", 144, x=x, cols=cols, fill=0, **lengths)
