"""Memory does not grow from step to step."""

import numpy as np
import pytest
from gpu.conftest import bytes_held

from xpcnn import models
from xpcnn.backend import to_device, use_backend
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import Adam

WARM_UP, STEPS = 10, {"cupy": 200, "simulated": 10}


def measure(step, steps):
    """Return (used, taken) after the warm-up and at the end."""
    for _ in range(WARM_UP):
        step()
    before = bytes_held()
    for _ in range(steps):
        step()
    return before, bytes_held()


@pytest.mark.parametrize("name", ["simple", "deep"])
def test_many_steps_hold_what_10_held(gpu, name):
    with use_backend(gpu):
        rng = np.random.default_rng(0)
        model, criterion = models.BY_NAME[name](10, rng, input_shape=(1, 16, 16)), SoftmaxCrossEntropy()
        optimizer = Adam(model.parameters(), 1e-3)
        images, labels = rng.random((2, 1, 16, 16), np.float32), np.array([1, 2])

        def step():
            criterion(model(to_device(images)), to_device(labels))
            model.backward(criterion.backward(), need_dx=False)
            optimizer.step()

        before, after = measure(step, STEPS[gpu])
    assert after == before


def test_a_leak_would_show(gpu):
    kept = []
    with use_backend(gpu) as active:
        before, after = measure(lambda: kept.append(active.module.zeros(1000, "float32")), STEPS[gpu])
    assert after[0] - before[0] >= STEPS[gpu] * 4000
