"""PyTorch computes what we compute, with every optimizer."""

import numpy as np
import pytest

from xpcnn import optimizers
from xpcnn.backend import use_backend
from xpcnn.benchmark.workload import Workload

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers
from xpcnn.benchmark.pytorch import TorchTraining, twin, version  # noqa: E402

WORK = {"model": "deep", "batch_size": 6, "image": (1, 28, 28), "dropout": False}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", optimizers.BY_NAME)
def test_losses_are_ours(name, channels_last):
    work = Workload(**WORK, optimizer=name, lr=1e-3)
    with use_backend("numpy"):
        ours, theirs = work.training(), TorchTraining(work, channels_last)
        for _ in range(4):
            seconds = ours.step(), theirs.step()
            assert float(theirs.loss) == pytest.approx(
                float(ours.loss), rel=1e-3 if name == "adagrad" else 1e-4
            )
    assert all(len(one) == 4 for one in seconds)


def test_channels_last_is_the_order_of_images_and_weights():
    work = Workload(**WORK | {"image": (3, 28, 28)})
    training = TorchTraining(work, True)
    training.step()
    assert training.images.is_contiguous(memory_format=torch.channels_last)
    assert training.network[0].weight.is_contiguous(memory_format=torch.channels_last)
    training = TorchTraining(work, False)
    training.step()
    assert training.images.is_contiguous()


def test_it_runs_on_as_many_threads_as_ours(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("XPCNN_THREADS", "1")
    TorchTraining(Workload(**WORK), False)
    try:
        assert torch.get_num_threads() == 1
        assert "1 thread," in version()
    finally:
        torch.set_num_threads(before)


def test_numbers_of_the_optimizer_are_ours():
    model = Workload(**WORK).network()
    ours = optimizers.AdamW(model.parameters(), 0.02, (0.8, 0.95), 1e-6, weight_decay=0.3)
    theirs = twin(ours, [torch.nn.Parameter(torch.zeros(1))])
    group = theirs.param_groups[0]
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (
        0.02,
        (0.8, 0.95),
        1e-6,
        0.3,
    )
    assert np.isclose(
        twin(optimizers.Momentum(model.parameters()), theirs.param_groups[0]["params"]).defaults["momentum"],
        0.9,
    )
