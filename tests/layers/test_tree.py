"""Layers inside layers: how they are found, named, replaced and frozen; fine-tuning, copies, groups of parameters."""

import copy
import pickle

import numpy as np
import pytest

from xpcnn import models
from xpcnn.errors import DtypeError, HyperparameterError, ShapeError
from xpcnn.layers import Affine, Buffer, Conv, Layer, Parameter, ReLU, Sequential
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import BY_NAME, SGD, Adam, AdamW, Momentum


class Everywhere(Layer):
    def __init__(self):
        self.blocks = [Affine(2, 2), (ReLU(), {"deep": Affine(2, 3)})]
        self._private = Affine(3, 3)
        self.scales = [Parameter(np.ones(1, np.float32))]
        self.statistics = {"mean": Buffer(np.zeros(1, np.float32))}
        self.again = self.blocks[0]
        self.parent = self


def test_children_are_found_wherever_they_are_kept():
    layer = Everywhere()
    assert [name for name, _ in layer.named_layers()] == [
        "", "blocks.0", "blocks.1.0", "blocks.1.1.deep", "_private",
    ]  # fmt: skip
    assert [name for name, _ in layer.named_parameters()] == [
        "scales.0", "blocks.0.weight", "blocks.0.bias", "blocks.1.1.deep.weight", "blocks.1.1.deep.bias",
        "_private.weight", "_private.bias",
    ]  # fmt: skip
    assert [name for name, _ in layer.named_buffers()] == ["statistics.mean"]
    assert "..." in repr(layer)  # it holds itself


def test_a_set_of_layers_has_no_order():
    layer = Everywhere()
    layer.blocks = {ReLU(), ReLU()}
    with pytest.raises(DtypeError, match="blocks: a set of Layer objects has no order; keep them in a list"):
        list(layer.named_layers())


@pytest.mark.parametrize("name", ["blocks.0", "blocks.1.1.deep", "_private"])
def test_assigning_replaces(name):
    layer, new = Everywhere(), Affine(2, 2)
    layer[name] = new
    assert layer[name] is new
    assert dict(layer.named_layers())[name] is new


def test_replacing_in_a_sequential():
    model = models.resnet18(width=1 / 16, num_classes=3, rng=0)
    model.fc = Affine(32, 5, rng=0)
    assert model.output_shape((3, 64, 64)) == (5,)
    assert model(np.zeros((1, 3, 64, 64), np.float32)).shape == (1, 5)
    assert dict(model.named_parameters())["fc.weight"].data.shape == (5, 32)
    new = Conv(4, 4, 3, padding=1)
    model["layer1.0.conv1"] = new
    assert model["layer1.0.residual.body.conv1"] is new
    model[-1] = Affine(32, 7)
    assert model.fc.out_features == 7
    assert model[-1] is model.fc
    assert "fc" in dir(model)


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda model: setattr(model, "head", ReLU()), ShapeError, "there is no layer 'head' to replace"),
        (lambda model: model["2"], ShapeError, "there is no layer '2' in it; its layers are: 0, 1"),
        (lambda model: model.__setitem__(0, "relu"), DtypeError, "expected a layer for '0', got 'relu'"),
        (lambda model: setattr(model[0], "weight", np.ones((2, 2))), DtypeError, "weight is a Parameter, got an array"),
        (lambda model: model.nothing, AttributeError, "Sequential has no attribute 'nothing'; its layers are 0, 1"),
        (lambda model: Sequential(a=Sequential(x=ReLU()), b=ReLU())["x"], ShapeError, "there is no layer 'x'"),
    ],
)  # fmt: skip
def test_bad_input(use, error, message):
    with pytest.raises(error, match=message):
        use(Sequential(Affine(2, 2), ReLU()))


def test_a_short_name_of_several_layers_is_refused():
    model = Sequential(a=Sequential(b=Sequential(x=ReLU()), c=Sequential(x=ReLU())))
    with pytest.raises(
        ShapeError, match=r"'a.x' may be any of a.b.x, a.c.x; write one of these names in full"
    ):
        model["a.x"]


def batch(classes=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((6, 4)).astype(np.float32), rng.integers(0, classes, 6)


def learn(model, optimizer, steps=3):
    x, labels = batch()
    criterion = SoftmaxCrossEntropy()
    for _ in range(steps):
        criterion(model(x), labels)
        model.backward(criterion.backward(), need_dx=False)
        optimizer.step()


def network():
    return Sequential(Affine(4, 5, rng=0), ReLU(), Affine(5, 3, rng=1))


def values(model):
    return [parameter.data.copy() for parameter in model.parameters()]


def test_frozen_layers_stay_as_they_are_and_the_rest_learns():
    model, asked = network(), []
    model[0].freeze()
    optimizer = AdamW(model.parameters(), weight_decay=0.1)
    before = values(model)
    first = model[0].backward
    model[0].backward = lambda *args: asked.append(args) or first(*args)
    learn(model, optimizer)
    after = values(model)
    assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [True, True, False, False]
    assert not asked  # no gradient is computed where nothing is trained
    del model[0].backward
    model.unfreeze()
    learn(model, optimizer)
    assert not any(np.array_equal(a, b) for a, b in zip(after, values(model), strict=True))


def test_fine_tuning_in_five_lines():
    model = models.resnet18(width=1 / 16, num_classes=10, rng=0)
    model.freeze()
    model.fc = Affine(32, 2, rng=0)
    optimizer = Adam(model.parameters(), lr=1e-2)
    x, labels = np.random.default_rng(0).random((4, 3, 32, 32), np.float32), np.array([0, 1, 0, 1])
    criterion, model, losses = SoftmaxCrossEntropy(), model.eval(), []
    body = model.conv1.weight.data.copy()
    for _ in range(20):
        losses.append(float(criterion(model(x), labels)))
        model.backward(criterion.backward(), need_dx=False)
        optimizer.step()
    assert losses[-1] < losses[0]
    assert np.array_equal(model.conv1.weight.data, body)


def test_groups_have_their_own_rates_and_decay():
    model, plain = network(), network()
    first, last = model[0].parameters(), model[2].parameters()
    optimizer = Momentum([{"parameters": first, "lr": 0.01}, {"parameters": last, "weight_decay": 0.5}], 0.1)
    optimizer.lr = 0.2  # as a schedule does: the rates change in proportion
    rates = Momentum(plain[0].parameters(), 0.02), Momentum(plain[2].parameters(), 0.2, weight_decay=0.5)
    x, labels = batch()
    criterion = SoftmaxCrossEntropy()
    for _ in range(3):
        for part in (model, plain):
            criterion(part(x), labels)
            part.backward(criterion.backward())
        optimizer.step()
        for single in rates:
            single.step()
    for one, other in zip(values(model), values(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            network(),
            DtypeError,
            r"Adam: expected parameters, got Sequential of 3 layers; pass model.parameters\(\)",
        ),
        ("adam", DtypeError, "expected parameters, got adam"),
        (
            [{"params": []}],
            HyperparameterError,
            "expected groups with the keys 'parameters', 'lr' and 'weight_decay'",
        ),
        ([{"parameters": [1]}], DtypeError, "expected parameters in a group"),
        ([{"parameters": network().parameters(), "lr": -1}], HyperparameterError, "expected 0 <= lr"),
        ([network()], DtypeError, "expected parameters, got"),
        (network().parameters()[:1] * 2, ShapeError, "a parameter is there twice"),
    ],
)
def test_bad_groups(given, error, message):
    with pytest.raises(error, match=message):
        Adam(given)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize("name", BY_NAME)
def test_a_copied_model_and_optimizer_learn_as_the_originals_do(name, duplicate):
    model = network()
    optimizer = BY_NAME[name](model.parameters(), weight_decay=0.01, clip_norm=1.0)
    learn(model, optimizer)
    twin, its = duplicate((model, optimizer))
    before = values(twin)
    for pair in ((model, optimizer), (twin, its)):
        learn(*pair)
    assert all(np.array_equal(a, b) for a, b in zip(values(model), values(twin), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(values(twin), before, strict=True))


def test_a_copied_layer_does_not_hold_the_optimizers_buffer():
    model = network()
    SGD(model.parameters())
    twin = model.copy()
    learn(twin, SGD(twin.parameters()))
    assert not np.array_equal(twin[0].weight.data, model[0].weight.data)
