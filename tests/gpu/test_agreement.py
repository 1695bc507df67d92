"""A GPU and the simulated device: the same requests to the device, and the same numbers within rounding."""

import numpy as np
import pytest
from gpu.conftest import counting

from xpcnn import models
from xpcnn.backend import to_device, to_host, use_backend
from xpcnn.debug.compare import running
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import Adam
from xpcnn.simulated.judge import why_no_judge

STEPS, SIZE = {"cupy": 10, "simulated": 2}, {"cupy": 8, "simulated": 2}


def run(backend, name, steps, size):
    """Train on noise; return the losses, and what was asked of the device."""
    with running(backend):
        rng = np.random.default_rng(0)
        images = rng.random((steps, size, 1, 28, 28), np.float32)
        labels = rng.integers(0, 10, (steps, size))
        model, criterion = models.BY_NAME[name](10, rng), SoftmaxCrossEntropy()
        optimizer, losses = Adam(model.parameters(), 1e-3), []
        with counting() as counts:
            for x, t in zip(images, labels, strict=True):
                losses.append(criterion(model(to_device(x)), to_device(t)))
                model.backward(criterion.backward(), need_dx=False)
                optimizer.step()
        return [float(to_host(loss)) for loss in losses], counts


@pytest.mark.parametrize("name", ["simple", "deep", "lenet5"])
def test_losses_and_ledger(gpu, name):
    """A GPU is held against the simulated device, and that against the textbook on NumPy."""
    other = "simulated" if gpu == "cupy" else "numpy:reference"
    if other == "simulated" and why_no_judge():
        pytest.skip(why_no_judge())
    steps, size = STEPS[gpu], SIZE[gpu]
    losses, counts = run(gpu, name, steps, size)
    other_losses, other_counts = run(other, name, steps, size)
    if other == "simulated":
        assert counts == other_counts
    assert (counts["upload"], counts["download"]) == (2 * steps, 0)
    assert counts["adam_update"] == steps
    np.testing.assert_allclose(
        losses, other_losses, rtol=1e-3 if gpu == "cupy" else 1e-5
    )  # a GPU fuses a b + c


def test_counting_counts(gpu):
    """On any backend: what is counted here is what happens."""
    with use_backend(gpu) as active, counting() as counts:
        x = to_device(np.ones(3, np.float32))
        to_host(active.kernels["relu"](x))
    assert counts == {"upload": 1, "relu": 1, "download": 1}
