"""The same workload is the same network and the same batches, whoever builds it."""

import numpy as np
import pytest

from xpcnn.benchmark.workload import LEARNING_RATE, Workload, has_width
from xpcnn.errors import BenchmarkError, DatasetError
from xpcnn.layers import Dropout
from xpcnn.models import BY_NAME

SMALL = {"model": "deep", "batch_size": 4, "image": (3, 28, 28)}


def test_two_of_the_same_are_equal_to_the_bit():
    one, two = (Workload(**SMALL) for _ in range(2))
    for a, b in zip(one.network().parameters(), two.network().parameters(), strict=True):
        assert np.array_equal(a.data, b.data)
    for (images, labels), (others, same) in zip([next(one.feed())], [next(two.feed())], strict=True):
        assert images.shape == (4, 3, 28, 28)
        assert images.dtype == np.float32
        assert np.array_equal(images, others)
        assert np.array_equal(labels, same)


def test_training_goes_down_to_the_update(backend):
    training = Workload("lenet5", 4, "sgd", image=(1, 28, 28)).training()
    before = training.optimizer.data.copy()
    training.step()
    assert (training.optimizer.data != before).any()
    assert training.optimizer.lr == LEARNING_RATE


def test_losses_are_compared_without_dropout():
    def probabilities(work):
        return [layer.p for _, layer in work.network().named_layers() if isinstance(layer, Dropout)]

    assert probabilities(Workload(**SMALL)) == [0.5]
    assert probabilities(Workload(**SMALL).check()) == [0.0]
    assert Workload("simple", optimizer="sgd").check().lr > LEARNING_RATE


def test_width_is_the_network_s():
    conv, *_ = Workload("simple", width=2, image=(1, 28, 28)).network()
    assert conv.out_channels == 60
    with pytest.raises(BenchmarkError, match=r"lenet5 has one width only; take .* simple, deep, resnet20"):
        Workload("lenet5", width=2, image=(1, 28, 28)).network()


def test_only_the_lenets_have_one_width():
    assert {name for name in BY_NAME if not has_width(name)} == {"lenet5", "lenet5_1998"}


def test_a_batch_beyond_mnist_is_refused():
    with pytest.raises(DatasetError, match="at least one batch of 60001, got 60000"):
        Workload(batch_size=60_001).feed()
