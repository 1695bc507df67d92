"""Small programs in the manner of the book's chapters 5, 7 and 8, with the import lines changed."""

from collections import OrderedDict

import numpy
import pytest

from xpcnn.backend import to_host
from xpcnn.backend import xp as np
from xpcnn.interop.book import Adam, Trainer, load_mnist, numerical_gradient
from xpcnn.interop.book.layers import *  # noqa: F403 - as a program has it

# ruff: noqa: F405 - and does not say what it imports
# ruff: noqa: NPY002 - and draws from NumPy's global generator

pytestmark = pytest.mark.usefixtures("backend")


class Network:
    """What the chapters' networks share: layers by name, W1, b1, ... in `params`."""

    def __init__(self, shapes, build):
        rng = numpy.random.default_rng(0)
        self.params = {}
        for number, shape in enumerate(shapes, start=1):
            fan_in = numpy.prod(shape[1:]) if len(shape) == 4 else shape[0]
            self.params[f"W{number}"] = np.asarray(rng.standard_normal(shape) * (2 / fan_in) ** 0.5)
            self.params[f"b{number}"] = np.zeros(shape[0] if len(shape) == 4 else shape[1])
        self.layers, self.last = OrderedDict(build(self.params)), SoftmaxWithLoss()

    def predict(self, x, train_flg=False):
        for layer in self.layers.values():
            x = (
                layer.forward(x, train_flg)
                if isinstance(layer, (Dropout, BatchNormalization))
                else layer.forward(x)
            )
        return x

    def loss(self, x, t, train_flg=False):
        return self.last.forward(self.predict(x, train_flg), t)

    def accuracy(self, x, t):
        t = t if t.ndim == 1 else np.argmax(t, axis=1)
        return np.sum(np.argmax(self.predict(x), axis=1) == t) / len(x)

    def gradient(self, x, t):
        self.loss(x, t, train_flg=True)
        dout = self.last.backward(1)
        for layer in reversed(self.layers.values()):
            dout = layer.backward(dout)
        grads, number = {}, 0
        for layer in self.layers.values():
            if isinstance(layer, (Affine, Convolution)):
                number += 1
                grads[f"W{number}"], grads[f"b{number}"] = layer.dW, layer.db
        return grads

    def numerical_gradient(self, x, t):
        return {name: numerical_gradient(lambda _: self.loss(x, t), p) for name, p in self.params.items()}


def two_layers(pixels=784, width=20, activation=Relu):
    return Network([(pixels, width), (width, 10)], lambda p: [
        ("Affine1", Affine(p["W1"], p["b1"])), ("Act", activation()), ("Affine2", Affine(p["W2"], p["b2"])),
    ])  # fmt: skip


def convolutional(size=12):
    return Network([(4, 1, 3, 3), (4 * ((size - 2) // 2) ** 2, 10)], lambda p: [
        ("Conv1", Convolution(p["W1"], p["b1"], 1, 0)), ("Relu1", Relu()), ("Pool1", Pooling(2, 2, stride=2)),
        ("Affine1", Affine(p["W2"], p["b2"])),
    ])  # fmt: skip


@pytest.fixture(scope="module")
def _mnist():
    return {}


@pytest.fixture
def mnist(backend, _mnist):
    """The first images, read once for a backend."""
    if backend.name not in _mnist:
        (x, t), (x_test, t_test) = load_mnist(normalize=True, flatten=True, one_hot_label=True)
        _mnist[backend.name] = (x[:1000], t[:1000]), (x_test[:300], t_test[:300])
    return _mnist[backend.name]


def test_chapter_5_trains_by_hand(mnist):
    (x_train, t_train), (x_test, t_test) = mnist
    network, losses = two_layers(), []
    numpy.random.seed(0)
    for _ in range(120):
        batch = np.asarray(numpy.random.choice(len(x_train), 100))
        grad = network.gradient(x_train[batch], t_train[batch])
        for key in ("W1", "b1", "W2", "b2"):
            network.params[key] -= 0.3 * grad[key]
        losses.append(float(network.loss(x_train[batch], t_train[batch])))
    assert losses[-1] < losses[0] / 4
    assert float(network.accuracy(x_test, t_test)) > 0.75


@pytest.mark.parametrize("activation", [Relu, Sigmoid])
def test_chapter_5_checks_its_gradients(activation):
    network = two_layers(9, 4, activation)
    x, t = np.asarray(numpy.random.default_rng(5).random((3, 9))), np.asarray(numpy.eye(10)[[3, 1, 4]])
    by_backward, by_differences = network.gradient(x, t), network.numerical_gradient(x, t)
    for key, wanted in by_differences.items():
        assert abs(to_host(by_backward[key] - wanted)).mean() < 1e-7


def test_chapter_7_checks_its_gradients_with_labels_in_a_column():
    network = convolutional(size=8)
    x, t = np.asarray(numpy.random.default_rng(1).random((1, 1, 8, 8))), np.asarray([[1]])
    by_backward, by_differences = network.gradient(x, t), network.numerical_gradient(x, t)
    for key, wanted in by_differences.items():
        assert abs(to_host(by_backward[key] - wanted)).mean() < 1e-7


@pytest.mark.parametrize("host", [False, True], ids=["device", "host"])
def test_chapter_7_leaves_training_to_the_trainer(mnist, capsys, host):
    """On data of either side; the same seed takes the same steps."""
    place = to_host if host else lambda array: array
    (x, t), (x_test, t_test) = [
        (place(x.reshape(-1, 1, 28, 28)[:, :, 2:26:2, 2:26:2].copy()), place(np.argmax(t, axis=1)))
        for x, t in mnist
    ]

    def run(verbose):
        numpy.random.seed(1)
        trainer = Trainer(
            convolutional(), x[:400], t[:400], x_test, t_test, epochs=3, mini_batch_size=50, optimizer="Adam",
            optimizer_param={"lr": 0.01}, evaluate_sample_num_per_epoch=100, verbose=verbose,
        )  # fmt: skip
        trainer.train()
        return trainer

    trainer = run(verbose=True)
    out = capsys.readouterr().out
    assert len(trainer.train_loss_list) == 24
    assert len(trainer.train_acc_list) == len(trainer.test_acc_list) == 3
    assert all(type(loss) is float for loss in trainer.train_loss_list)
    assert trainer.train_loss_list[-1] < trainer.train_loss_list[0] / 2
    assert out.splitlines()[0] == f"train loss:{trainer.train_loss_list[0]}"
    assert "=== epoch:1, train acc:" in out
    assert out.splitlines()[-2] == "=============== Final Test Accuracy ==============="
    assert run(verbose=False).train_loss_list == trainer.train_loss_list
    assert capsys.readouterr().out == ""


def test_chapter_8_drops_out_normalises_and_counts_in_batches(mnist):
    (x, t), _ = mnist
    x, t = x.reshape(-1, 1, 28, 28)[:40, :, ::4, ::4].copy(), t[:40]
    network = Network([(6, 1, 3, 3), (6 * 3 * 3, 10)], lambda p: [
        ("Conv1", Convolution(p["W1"], p["b1"], pad=1)), ("Norm", BatchNormalization(np.ones(6), np.zeros(6))),
        ("Relu1", Relu()), ("Pool1", Pooling(2, 2)), ("Drop1", Dropout(0.2)), ("Affine1", Affine(p["W2"], p["b2"])),
    ])  # fmt: skip
    optimizer, first = Adam(lr=0.02), float(network.loss(x, t, train_flg=True))
    numpy.random.seed(2)
    for _ in range(80):
        optimizer.update(network.params, network.gradient(x, t))
    assert float(network.loss(x, t)) < first / 5
    assert float(network.accuracy(x, t)) > 0.9


def test_mnist_comes_as_the_programs_want_it(backend):
    (x, t), (x_test, t_test) = load_mnist(normalize=False, flatten=False)
    assert (x.shape, x_test.shape, x.dtype.name) == ((60000, 1, 28, 28), (10000, 1, 28, 28), "uint8")
    assert (t.shape, t_test.shape, int(t[0])) == ((60000,), (10000,), 5)
    assert isinstance(x, backend.ndarray)
    assert isinstance(t, backend.ndarray)


def test_mnist_normalised_flat_and_one_hot(mnist):
    (x, t), _ = mnist
    assert (x.shape, x.dtype.name, float(x.max())) == ((1000, 784), "float32", 1.0)
    assert (t.shape, to_host(t[0]).tolist()) == ((1000, 10), [0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
