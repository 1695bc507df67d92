"""What the NumPy kernels allocate beyond their results: a few megabytes, whatever the image and the kernel."""

import tracemalloc

import numpy as np
import pytest

from xpcnn import kernels, models
from xpcnn.backend import use_backend
from xpcnn.geometry import Window
from xpcnn.kernels.cpu import threads
from xpcnn.kernels.cpu.layout import as_images
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import Momentum

MiB = 1 << 20


@pytest.fixture(autouse=True)
def _tuned(monkeypatch):
    monkeypatch.delenv("XPCNN_KERNELS", raising=False)
    monkeypatch.delenv("XPCNN_WORKSPACE", raising=False)


def peak(function):
    """Return what `function` returns, and the most bytes that were allocated at a time beyond those before it."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = function()
        return result, tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def images(N, C, H, W):
    """Zeros as a convolution would hand them out, so that none are copied."""
    return as_images(np.zeros((H, C, W, N), np.float32))


@pytest.mark.parametrize(("batch_size", "most"), [(100, 90 * MiB), (400, 300 * MiB)])
@pytest.mark.parametrize("choice", ["pure", "tuned"])
def test_a_training_step_of_deep_is_small(batch_size, most, choice):
    with use_backend("numpy", kernels=choice):
        model, criterion = models.deep(rng=0), SoftmaxCrossEntropy()
        optimizer = Momentum(model.parameters())
        x, t = np.zeros((batch_size, 1, 28, 28), np.float32), np.arange(batch_size) % 10

        def step():
            criterion(model(x), t)
            model.backward(criterion.backward(), need_dx=False)
            optimizer.step()

        _, held = peak(step)
    assert held <= most


LAYERS = {
    "VGG-16's conv1_2": ((8, 64, 224, 224), 64, 1, Window(3, 1, 1)),
    "few channels out": ((8, 32, 112, 112), 8, 1, Window(3, 1, 1)),
    "a large kernel": ((8, 16, 112, 112), 32, 1, Window(7, 1, 3)),
    "a stride": ((8, 32, 112, 112), 32, 1, Window(3, 2, 1)),
    "a dilation": ((8, 32, 112, 112), 32, 1, Window(3, 1, 2, 2)),
    "groups": ((8, 32, 112, 112), 64, 4, Window(3, 1, 1)),
    "1x1": ((8, 64, 112, 112), 64, 1, Window(1)),
    "VGG-16's conv4_2": ((4, 512, 28, 28), 512, 1, Window(3, 1, 1)),
}


@pytest.mark.parametrize("workspace", [4 * MiB, MiB // 2])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("choice", ["pure", "tuned"])
def test_a_convolution_holds_its_results_and_the_workspace(monkeypatch, name, workspace, choice):
    monkeypatch.setenv("XPCNN_WORKSPACE", str(workspace))
    shape, O, groups, window = LAYERS[name]
    substitutes = kernels.load("numpy", choice)
    x, weight = images(*shape), np.zeros((O, shape[1] // groups, *window.size), np.float32)
    columns = x.nbytes * window.size[0] * window.size[1] // (window.stride[0] * window.stride[1])
    y, forward = peak(lambda: substitutes["conv"](x, weight, np.zeros(O, np.float32), window, groups))
    (dx, *_), backward = peak(lambda: substitutes["conv_backward"](y, x, weight, window, groups))
    most = 2 * workspace + MiB  # unrolled rows, and what is multiplied from them
    filters = weight.nbytes  # one set in another order; or a sum and its newest share in each thread, and dW
    assert forward - y.nbytes <= most + filters
    assert backward - dx.nbytes <= most + filters * (3 + 4 * threads.count())
    assert name == "1x1" or columns > 2 * most  # or this would prove nothing
