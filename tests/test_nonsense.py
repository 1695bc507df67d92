"""Nonsense is refused where it comes in: by every public constructor and function, with an error of the package's own.

What a number may be is written once for each argument: its kind says what of NONSENSE it refuses. The message names the
argument or what was expected, what came, and after a semicolon what to pass.
"""

import math
import re

import numpy as np
import pytest

from xpcnn import initializers, layers, losses, models, optimizers, random, schedules, training
from xpcnn.data import Compose, Crop, Flip, Normalize, RandomAffine, Shift, batches, check_labels
from xpcnn.debug.gradients import gradient_check, numerical_gradient
from xpcnn.errors import DatasetError, DtypeError, HyperparameterError, ShapeError, XpcnnError
from xpcnn.geometry import Window
from xpcnn.layers import Affine, Parameter, ReLU, Sequential
from xpcnn.models.resnet import resnet, resnet_cifar
from xpcnn.models.vgg import vgg
from xpcnn.training import metrics

NAN, INF = math.nan, math.inf
NOT_A_NUMBER = [NAN, INF, -INF, "1", None, True, 1 + 1j, [1], (1, 2), np.array([1.0]), np.bool_(True)]
NONSENSE = {
    "count": [0, -1, 1.5, np.float64(2), *NOT_A_NUMBER],  # whole, from 1
    "extra": [-1, 1.5, *NOT_A_NUMBER],  # whole, from 0
    "side": [0, -1, 1.5, NAN, INF, "1", None, True, (1, 2, 3), (1, 0), (1, 1.5), (1, None)],  # whole, or a pair
    "padding": [-1, 1.5, NAN, INF, "1", None, True, (1, 2, 3), (1, -1), ((1, 1), (1, -1)), ((1, 1), 2)],
    "rate": [-1, -0.1, *NOT_A_NUMBER],  # from 0
    "positive": [0, -1, -0.1, *NOT_A_NUMBER],
    "share": [-0.1, 1.1, -1, 2, *NOT_A_NUMBER],  # from 0 to 1
    "below 1": [-0.1, 1, 1.1, 2, *NOT_A_NUMBER],
    "flag": [0, 1, "no", None, NAN, [True]],
    "initializer": [None, "he_normal", 1, np.ones((2, 2))],
    "seed": [-1, 1.5, NAN, INF, "0", True, 1j],
    "function": [1, "relu", [1], NAN],
    "image": [1, None, "3", (1, 28), (0, 28, 28), (1, 28.0, 28), (1, NAN, 28), (1, -1, 28), (True, 28, 28)],
}  # fmt: skip

IMAGES = np.random.default_rng(0).random((6, 1, 8, 8), np.float32)
LABELS = np.arange(6) % 3
PICTURES = np.ones((2, 3, 6, 6), np.float32)


def small():
    return models.simple(3, 0, input_shape=(1, 8, 8), width=0.1)


def parameters():
    return [Parameter(np.ones(3, np.float32))]


def train(
    model=None, dataset=(IMAGES, LABELS), optimizer=None, criterion=None, epochs=1, batch_size=3, **more
):
    model = small() if model is None else model
    made = optimizers.SGD(model.parameters() if isinstance(model, layers.Layer) else parameters())
    return list(
        training.train(
            model, criterion or losses.SoftmaxCrossEntropy(), optimizer or made, dataset,
            epochs=epochs, batch_size=batch_size, **more,
        )
    )  # fmt: skip


def network(name):
    return lambda **options: getattr(models, name)(**{"num_classes": 3, "rng": 0, **options})


OPTIONS = {"num_classes": "count", "width": "positive", "input_shape": "image", "rng": "seed"}

ARGUMENTS = [
    (lambda **a: Affine(**{"in_features": 2, "out_features": 3, **a}), {
        "in_features": "count", "out_features": "count", "bias": "flag", "initializer": "initializer", "rng": "seed"}),
    (lambda **a: layers.Conv(**{"in_channels": 2, "out_channels": 2, "kernel_size": 3, **a}), {
        "in_channels": "count", "out_channels": "count", "kernel_size": "side", "stride": "side", "padding": "padding",
        "dilation": "side", "groups": "count", "bias": "flag", "flip_kernel": "flag", "initializer": "initializer",
        "rng": "seed", "data_format": "function", "rounding": "function"}),
    (lambda **a: layers.Pooling(**{"kernel_size": 3, **a}), {
        "kernel_size": "side", "padding": "padding", "count_include_pad": "flag", "mode": "function",
        "rounding": "function"}),
    (lambda stride: layers.Pooling(3, stride), {"stride": "side but none"}),
    (lambda **a: Window(**{"size": 3, **a}), {
        "size": "side", "stride": "side", "padding": "padding", "dilation": "side", "rounding": "function"}),
    (lambda **a: layers.BatchNorm(**{"channels": 2, **a}), {
        "channels": "count", "eps": "positive", "momentum": "share"}),
    (lambda **a: layers.LocalResponseNorm(**{"size": 5, **a}), {
        "size": "count", "alpha": "rate", "beta": "rate", "k": "positive"}),
    (layers.Dropout, {"p": "below 1", "rng": "seed"}),
    (layers.Scale, {"channels": "count"}),
    (layers.PadChannels, {"extra": "extra"}),
    (lambda axis: layers.Softmax(axis), {"axis": "axis"}),
    (lambda layer: Sequential(layer), {"layer": "layer"}),
    (lambda layer: layers.Parallel(layer), {"layer": "layer"}),
    (lambda layer: layers.Residual(layer), {"layer": "layer"}),
    (lambda trunk: layers.Auxiliary(trunk, []), {"trunk": "layer"}),
    (lambda heads: layers.Auxiliary([ReLU(), ReLU()], heads), {"heads": "layer"}),
    (losses.AuxiliaryCrossEntropy, {"weight": "rate"}),
    *((lambda kind=kind, **a: kind(parameters(), **a), {
        "lr": "rate", "weight_decay": "rate", "clip_norm": "positive but none"})
      for kind in optimizers.BY_NAME.values()),
    *((lambda kind=kind, **a: kind(**a), {"parameters": "parameters"}) for kind in optimizers.BY_NAME.values()),
    *((lambda kind=kind, **a: kind(parameters(), **a), {"momentum": "below 1"})
      for kind in (optimizers.Momentum, optimizers.Nesterov)),
    *((lambda kind=kind, **a: kind(parameters(), **a), {"eps": "rate"})
      for kind in (optimizers.AdaGrad, optimizers.RMSprop, optimizers.Adam, optimizers.AdamW)),
    (lambda **a: optimizers.RMSprop(parameters(), **a), {"decay": "below 1"}),
    *((lambda kind=kind, **a: kind(parameters(), **a), {"betas": "betas"})
      for kind in (optimizers.Adam, optimizers.AdamW)),
    (lambda lr: setattr(optimizers.SGD(parameters()), "lr", lr), {"lr": "rate"}),
    (schedules.constant, {"lr": "rate"}),
    (lambda **a: schedules.step_decay(**{"lr": 0.1, "every": 3, **a}), {
        "lr": "rate", "every": "count", "factor": "rate"}),
    (lambda **a: schedules.cosine(**{"lr": 0.1, "steps": 3, **a}), {"lr": "rate", "steps": "count", "final": "rate"}),
    (lambda **a: schedules.one_cycle(**{"lr": 0.1, "steps": 3, **a}), {
        "lr": "rate", "steps": "count", "rise": "share", "start": "rate", "final": "rate"}),
    (lambda **a: schedules.warm_up(**{"schedule": schedules.constant(0.1), "steps": 3, **a}), {
        "schedule": "function", "steps": "extra"}),
    *((lambda name=name, **a: schedules.by_name(name, **{"lr": 0.1, "steps": 3, **a}), {"lr": "rate", "steps": "count"})
      for name in schedules.NAMES),
    (lambda **a: schedules.by_name(**{"name": "cosine", "lr": 0.1, "steps": 3, **a}), {"name": "function"}),
    *((network(name), OPTIONS) for name in ("simple", "deep", "alexnet", "vgg11", "googlenet", "resnet18", "resnet20")),
    *((network(name), {name: OPTIONS[name] for name in OPTIONS if name != "width"} | {"activation": "function"})
      for name in ("lenet5", "lenet5_1998")),
    (network("googlenet"), {"auxiliary": "flag"}),
    (network("resnet18"), {"paper_stride": "flag", "initializer": "initializer"}),
    (lambda std: initializers.normal((2, 3), std=std), {"std": "rate"}),
    (lambda bound: initializers.uniform((2, 3), bound=bound), {"bound": "rate"}),
    *((lambda shape, draw=draw: draw(shape), {"shape": "shape"})
      for draw in (initializers.fans, initializers.he_normal, initializers.lecun_uniform, initializers.xavier_normal)),
    *((lambda rng, draw=draw: draw((2, 3), rng), {"rng": "seed"})
      for draw in (initializers.normal, initializers.uniform)),
    (random.seed, {"number": "seed"}),
    (lambda number: random.seed(number), {"number": "none"}),
    (random.default_rng, {"rng": "seed"}),
    (train, {"epochs": "extra", "batch_size": "count", "rng": "seed", "schedule": "function", "transform": "function",
             "model": "layer", "criterion": "function", "optimizer": "layer", "dataset": "dataset"}),
    (lambda batch_size: training.evaluate(small(), (IMAGES, LABELS), batch_size=batch_size), {"batch_size": "count"}),
    (lambda dataset: training.evaluate(small(), dataset), {"dataset": "dataset"}),
    (lambda model: training.evaluate(model, (IMAGES, LABELS)), {"model": "layer"}),
    (lambda batch_size: training.predict(small(), IMAGES, batch_size=batch_size), {"batch_size": "count"}),
    (lambda model: training.predict(model, IMAGES), {"model": "layer"}),
    (lambda images: training.predict(small(), images), {"images": "array"}),
    (lambda **a: batches(**{"images": IMAGES, "labels": LABELS, "batch_size": 2, **a}), {
        "images": "array", "labels": "array", "batch_size": "count", "transform": "function", "rng": "generator"}),
    (lambda padding: Crop(padding), {"padding": "extra"}),
    (lambda pixels: Shift(pixels), {"pixels": "extra"}),
    (lambda p: Flip(p), {"p": "share"}),
    (lambda mean: Normalize(mean, 1.0), {"mean": "channel"}),
    (lambda std: Normalize(0.0, std), {"std": "channel"}),
    (lambda std: Normalize(0.0, std), {"std": "zero"}),
    (lambda **a: RandomAffine(**{"degrees": 5, **a}), {"degrees": "rate", "shift": "rate", "scale": "below 1"}),
    (lambda transform: Compose(transform), {"transform": "function"}),
    (lambda rng: Flip()(PICTURES, rng), {"rng": "generator"}),
    (lambda images: Flip()(images, np.random.default_rng(0)), {"images": "array"}),
    (lambda **a: gradient_check(**{"layer": ReLU(), "x": np.ones((2, 3)), **a}), {
        "epsilon": "positive", "samples": "count", "layer": "layer", "rng": "seed", "x": "values"}),
    (lambda **a: numerical_gradient(**{"f": lambda x: float(x.sum()), "x": np.ones(3), **a}), {
        "f": "function", "epsilon": "positive", "x": "values"}),
    (lambda num_classes: metrics.confusion_matrix(LABELS, LABELS, num_classes), {"num_classes": "count"}),
    (lambda labels: metrics.confusion_matrix(LABELS, labels, 3), {"labels": "classes"}),
    (lambda predictions: metrics.confusion_matrix(predictions, LABELS, 3), {"predictions": "classes"}),
    (lambda labels: check_labels(labels, 3, "train"), {"labels": "labels"}),
    (lambda labels: train(dataset=(IMAGES, labels)), {"labels": "labels"}),
    (lambda labels: training.evaluate(small(), (IMAGES, labels)), {"labels": "labels"}),
    (lambda labels: losses.SoftmaxCrossEntropy()(np.zeros((6, 3), np.float32), labels), {"labels": "labels"}),
    (lambda schedule: train(schedule=lambda step: schedule), {"schedule": "rate"}),
    (lambda shape: Affine(2, 3, initializer=lambda *_: np.ones(shape, np.float32)), {"shape": "wrong shape"}),
    (lambda weight: Affine(2, 3, initializer=lambda *_: weight), {"weight": "weight"}),
    (lambda weight: layers.Conv(2, 3, 1, initializer=lambda *_: weight), {"weight": "weight"}),
]  # fmt: skip


def weight_with(value):
    weight = np.ones((3, 2), np.float32)
    weight[1, 1] = value
    return weight


def soft(value, dtype=np.float32):
    rows = np.full((6, 3), 0.25, dtype)
    rows[4, 1] = value
    return rows


NONSENSE |= {
    "seed": NONSENSE["seed"],
    "none": [None, [1, 2]],
    "side but none": [value for value in NONSENSE["side"] if value is not None],
    "positive but none": [value for value in NONSENSE["positive"] if value is not None],
    "axis": [1.5, NAN, "1", None, True, (0, 1)],
    "layer": [1, "relu", ReLU, NAN, [[1]]],
    "parameters": [None, 1, "weights", ReLU(), Affine(2, 3), [1.0], [np.ones(3)]],
    "betas": [0.9, (0.9,), (0.9, 0.99, 0.999), (0.9, NAN), (0.9, 1), (-0.1, 0.9), ("0.9", 0.9), None, (True, 0.9)],
    "shape": [3, (3,), (0, 2), (2, -1), (2, 1.5), (2, NAN), "23", None, (True, 2)],
    "dataset": [None, IMAGES, (IMAGES,), (IMAGES, LABELS, LABELS), (None, LABELS), (IMAGES, None), "mnist",
                (IMAGES.tolist(), LABELS), (IMAGES, LABELS.tolist()), (IMAGES[:0], LABELS[:0]), (IMAGES, LABELS[:2])],
    "array": [None, 1, "images", [1, 2], np.float32(1), np.array(1.0)],
    "generator": [0, "seed", True, NAN, np.random],
    "channel": [NAN, INF, "1", None, True, [], [0.5, NAN], [[0.5]], "12", {"mean": 1}],
    "zero": [0, -1, [1.0, 0.0]],
    "values": ["x", np.array(["x"]), np.ones(2) * 1j, np.array([1.0, NAN]), np.array([INF]), np.ones(0)],
    "classes": [LABELS - 1, LABELS + 1, LABELS * 1.0, LABELS[:2], np.eye(3)[LABELS], np.full(6, NAN)],
    "labels": [LABELS - 1, LABELS + 1, LABELS * 1.0, LABELS > 0, LABELS.astype(str), LABELS.tolist(), None, soft(NAN),
               soft(-0.1), soft(INF), soft(-INF), soft(-1, int), soft(0.5)[:, :2], soft(0.5).astype(str),
               soft(0.5).astype(complex), soft(0.5).astype(object)],
    "wrong shape": [(2, 3), (3,), (3, 2, 1), (1, 2), (3, 1), ()],
    "weight": [weight_with(NAN), weight_with(INF), weight_with(-INF), np.ones((3, 2), int), np.ones((3, 2), bool),
               np.ones((3, 2), complex), [[1.0, 2.0]] * 3, 1.0, None, "zeros"],
}  # fmt: skip

CASES = [
    pytest.param(make, argument, value, id=f"{number}-{argument}={value!r:.30}".replace("\n", " "))
    for number, (make, kinds) in enumerate(ARGUMENTS)
    for argument, kind in kinds.items()
    for value in NONSENSE[kind]
]


@pytest.mark.parametrize(("make", "argument", "value"), CASES)
def test_nonsense_is_refused(make, argument, value):
    with pytest.raises(XpcnnError) as caught:
        make(**{argument: value})
    message = str(caught.value)
    assert re.match(r"^[\w. ()\[\],='+\-:]+: |^schedule ", message), f"who is it? {message}"
    assert "got " in message or "is unknown" in message, message
    assert re.search(r"; \w", message), f"what is to be done? {message}"


SENSE = [
    lambda: Affine(np.int64(2), np.int32(3), rng=np.int64(0)),
    lambda: layers.BatchNorm(np.int64(3), eps=np.float64(1e-3), momentum=1),
    lambda: layers.BatchNorm(3, momentum=0),
    lambda: layers.Dropout(np.float32(0.5)),
    lambda: layers.Dropout(0),
    lambda: optimizers.Adam(parameters(), lr=0, betas=[0.0, np.float64(0.5)], clip_norm=1),
    lambda: optimizers.SGD((parameter for parameter in parameters()), lr=np.float64(0.1)),
    lambda: schedules.one_cycle(1, np.int64(10), rise=0),
    lambda: schedules.warm_up(schedules.constant(1), 0),
    lambda: models.resnet20(3, np.random.default_rng(0), width=np.float32(0.1), input_shape=[1, 8, 8]),
    lambda: train(epochs=np.int64(1), batch_size=np.int64(4), schedule=lambda step: np.float64(0.1), rng=0),
    lambda: train(dataset=(IMAGES, soft(0.0)), epochs=2),
    lambda: training.evaluate(small(), (IMAGES, np.eye(3)[LABELS])),
    lambda: train(epochs=0),
    lambda: Normalize(np.float32(0.5), np.array([1, 2, 3]))(PICTURES),
    lambda: Normalize((0, 0.5, 1), 1)(PICTURES),
    lambda: random.default_rng(np.random.default_rng(0)),
    lambda: Window([3, 3], (np.int64(1), 2)),
    lambda: losses.SoftmaxCrossEntropy()(np.zeros((6, 3), np.float32), np.eye(3, dtype=bool)[LABELS]),
]


@pytest.mark.parametrize("make", range(len(SENSE)))
def test_what_makes_sense_is_not(make):
    SENSE[make]()


def test_a_numpy_rate_makes_no_array_float64():
    parameter = Parameter(np.ones(3, np.float32))
    optimizer = optimizers.Adam([parameter], lr=np.float64(0.1), betas=(np.float64(0.9), np.float64(0.99)))
    optimizer.lr = np.float64(0.2)
    assert type(optimizer.lr) is float
    optimizer.step()
    assert parameter.data.dtype == np.float32


SAYS = [
    (lambda: layers.BatchNorm(3, eps=NAN), HyperparameterError,
     r"^BatchNorm: expected 0 < eps < inf, got nan; the default"),
    (lambda: layers.BatchNorm(3, momentum=2), HyperparameterError,
     r"^BatchNorm: expected 0 <= momentum <= 1, got 2; "),
    (lambda: models.simple(width=-1), HyperparameterError,
     r"^simple: expected 0 < width < inf, got -1; 1 is the paper's"),
    (lambda: models.simple(0), ShapeError, r"^simple: num_classes must be at least 1, got 0; pass num_classes=10"),
    (lambda: train(epochs=1.5), HyperparameterError,
     r"^train: epochs must be at least 0 and a whole number, got 1.5; "),
    (lambda: train(schedule=lambda step: 0.25 - 0.5 * step), HyperparameterError,
     r"^train: expected 0 <= learning rate < inf, got -0.25; the schedule gave it for step 1"),
    (lambda: train(dataset=(IMAGES, soft(NAN))), DatasetError,
     r"^train: expected rows of probabilities.* got nan; "),
    (lambda: losses.SoftmaxCrossEntropy()(np.zeros((6, 3), np.float32), soft(-0.5)), DatasetError,
     r"^SoftmaxCrossEntropy\(\): expected rows of probabilities, finite and none below 0, got -0.5; "),
    (lambda: Affine(2, 3, initializer=lambda *_: np.ones((2, 3), np.float32)), ShapeError,
     r"^Affine: expected its initializer to draw \(3, 2\), got \(2, 3\); "),
    (lambda: Affine(2, 3, initializer=lambda *_: weight_with(NAN)), HyperparameterError,
     r"^Affine: expected its initializer to draw finite numbers, got nan; "),
    (lambda: Affine(2, 3, initializer=lambda *_: np.ones((3, 2), int)), DtypeError,
     r"^Affine: .* floating .* got int64; "),
    (lambda: optimizers.Adam(Affine(2, 3)), DtypeError,
     r"^Adam: expected parameters, got Affine.*; pass model.parameters"),
    (lambda: layers.Softmax(3)(np.ones((2, 2))), ShapeError,
     r"^Softmax\(axis=3\): expected an input with axis 3, got shape"),
    (lambda: vgg(12), ShapeError, r"^vgg: expected a depth of 11, 13, 16, 19, got 12; "),
    (lambda: resnet(20), ShapeError, r"^resnet: expected a depth of 18, 34, 50, 101, 152, got 20; "),
    (lambda: resnet_cifar(21), ShapeError, r"^resnet_cifar: expected a depth of 6 n \+ 2, got 21; "),
]  # fmt: skip


@pytest.mark.parametrize(("act", "error", "message"), SAYS)
def test_what_it_says(act, error, message):
    with pytest.raises(error, match=message):
        act()
