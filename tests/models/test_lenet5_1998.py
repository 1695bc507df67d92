"""The layers that only LeNet-5 of 1998 has, and its files of version 0.1."""

import json
import math
import pickle

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_close, dtypes, layouts, normal, seeds, unchanged, upload

import xpcnn.layers
from xpcnn import models
from xpcnn.backend import to_device, to_host
from xpcnn.checkpoint import load_checkpoint, save_checkpoint
from xpcnn.checkpoint._sealed import seal, unseal
from xpcnn.debug.check_layer import CHECKS
from xpcnn.errors import CheckpointError, DtypeError, ShapeError
from xpcnn.layers import Conv
from xpcnn.models.lenet5_1998 import TABLE_I, _distances, _distances_backward, _PartialConv, _RadialBasis
from xpcnn.optimizers import SGD
from xpcnn.training import Position

pytestmark = pytest.mark.usefixtures("backend")

IMAGES = (1, 16, 16)
MAKE = {
    "table": (lambda: _PartialConv(4, [(0, 1), (3,), (0, 1, 2, 3)], (3, 2), 2, 1, rng=0), (4, 6, 5)),
    "distances": (lambda: _RadialBasis(5, 3, rng=0), (5,)),
}


@pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])
@pytest.mark.parametrize("name", MAKE)
def test_both_layers_keep_the_contract(name, check):
    make, shape = MAKE[name]
    check(make(), shape)


def test_they_are_private_and_shown_by_the_names_of_version_0_1():
    assert not {"PartialConv", "RadialBasis"} & set(vars(xpcnn.layers))
    text = models.lenet5_1998().summary((1, 28, 28))
    assert "PartialConv(6, <16 rows>, 5)" in str(text)
    assert "_PartialConv" not in str(text)
    assert "RadialBasis(84, 10)" in str(text)


def test_connections_are_those_of_table_one():
    assert sum(map(len, TABLE_I)) == 60
    assert len(set(TABLE_I)) == 16
    assert all(sum(c in row for row in TABLE_I) == 10 for c in range(6))  # each map of S2 is read ten times


def test_a_model_can_be_pickled():
    model = models.lenet5_1998(3, 0, input_shape=IMAGES)
    again = pickle.loads(pickle.dumps(model))
    x = to_device(np.random.default_rng(0).random((2, *IMAGES), np.float32))
    np.testing.assert_array_equal(to_host(again(x)), to_host(model(x)))


# ---------------------------------------------------------------- files of version 0.1


OLD = {
    "s2.1": ["ChannelScale", {"channels": 6}],
    "c3": ["PartialConv", {"in_channels": 6, "connections": [list(row) for row in TABLE_I], "kernel_size": 5,
                           "stride": 1, "padding": 0}],
    "s4.1": ["ChannelScale", {"channels": 16}],
    "output": ["RadialBasis", {"in_features": 84, "out_features": 3}],
}  # fmt: skip


def as_version_0_1(file, changes=()):
    """Rewrite what a checkpoint says of these layers in the words of version 0.1."""
    arrays, metadata = unseal(file)
    layers = json.loads(metadata["layers"])
    assert OLD.keys() <= layers.keys()
    layers |= OLD | dict(changes)
    file.write_bytes(seal(arrays, metadata | {"layers": json.dumps(layers)}))


def test_a_checkpoint_of_version_0_1_loads(tmp_path):
    file, model = tmp_path / "checkpoint.safetensors", models.lenet5_1998(3, 0, input_shape=IMAGES)
    save_checkpoint(file, model, SGD(model.parameters(), 0.1), Position(np.random.default_rng(0)))
    as_version_0_1(file)
    other = models.lenet5_1998(3, 1, input_shape=IMAGES)
    load_checkpoint(file, other, SGD(other.parameters(), 0.1))
    for (name, ours), (_, theirs) in zip(other.named_parameters(), model.named_parameters(), strict=True):
        np.testing.assert_array_equal(to_host(ours.data), to_host(theirs.data), err_msg=name)
    as_version_0_1(file, {"s2.1": ["BatchNorm", {"channels": 6}]})
    with pytest.raises(CheckpointError, match=r"layer s2\.1 is BatchNorm, yours Scale"):
        load_checkpoint(file, other, SGD(other.parameters(), 0.1))


# ---------------------------------------------------------------- convolution by a table


def test_a_partial_convolution_is_a_convolution_with_zeros():
    table = [(0, 1), (3,), (3, 0, 2)]
    layer, dense = _PartialConv(4, table, 3, 2, 1, rng=0), Conv(4, 3, 3, 2, 1, rng=1)
    weight, at = np.zeros((3, 4, 3, 3), np.float32), 0
    for output, inputs in enumerate(table):
        for c in inputs:
            weight[output, c] = to_host(layer.weight.data)[at]
            at += 1
    dense.weight.data[...] = to_device(weight)
    x, dy = (to_device(a) for a in normal(2, (2, 4, 6, 6), (2, 3, 3, 3), dtype="float32"))
    assert_close(layer(x), to_host(dense(x)), "float32")
    assert_close(layer.backward(dy), to_host(dense.backward(dy)), "float32")
    taken = to_host(dense.weight.grad)[[0, 0, 1, 2, 2, 2], [0, 1, 3, 3, 0, 2]]
    assert_close(layer.weight.grad, taken, "float32")
    assert (len(layer.parameters()), layer.weight.data.size, layer.multiply_adds((4, 6, 6))) == (
        2,
        54,
        54 * 9,
    )


def test_fan_in_is_each_outputs_own():
    drawn = []

    def initializer(shape, rng):
        drawn.append(shape)
        return np.zeros(shape, np.float32)

    _PartialConv(3, [(0,), (0, 1, 2)], 5, initializer=initializer)
    assert drawn == [(1, 1, 5, 5), (1, 3, 5, 5)]


# ---------------------------------------------------------------- distances to centers


sizes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5))  # M, I, D


def loops(x, centers):
    return np.array(
        [[-(math.dist(map(float, row), map(float, center)) ** 2) for center in centers] for row in x]
    )


@given(sizes, seeds, dtypes, layouts)
def test_distances(size, seed, dtype, layout):
    M, I, D = size
    x, centers = normal(seed, (M, I), (D, I), dtype=dtype)
    arguments = upload(x, layout), upload(centers)
    with unchanged(*arguments):
        y = _distances(*arguments)
    assert_close(y, loops(x, centers), dtype)


@given(sizes, seeds, dtypes, layouts)
def test_the_gradient_of_distances(size, seed, dtype, layout):
    M, I, D = size
    dy, x, u, centers = normal(seed, (M, D), (M, I), (M, I), (D, I))
    arguments = [upload(array.astype(dtype), layout) for array in (dy, x, centers)]
    with unchanged(*arguments):
        dx = _distances_backward(*arguments)
    assert (dx.shape, dx.dtype) == (x.shape, dtype)
    along = reference.inner(reference.derivative(lambda x: loops(x, centers), x, u), dy)
    assert reference.inner(u, to_host(dx)) == pytest.approx(along, rel=1e-4, abs=1e-4)


def test_the_nearest_center_has_the_largest_output():
    layer = _RadialBasis(84, 10, rng=0)
    centers = to_host(layer.centers.data)
    assert set(np.unique(centers)) == {-1, 1}
    y = to_host(layer(layer.centers.data[:4] + np.float32(0.1)))
    assert (y.argmax(axis=1) == range(4)).all()
    np.testing.assert_allclose(y.max(axis=1), -84 * 0.01, rtol=1e-4)
    assert not layer.parameters()


def test_distances_in_half_precision_are_added_up_in_single():
    far = _distances(
        *(to_device(np.full(shape, value, np.float16)) for shape, value in (((1, 5000), 1), ((2, 5000), -1)))
    )
    assert far.dtype == np.float16
    np.testing.assert_array_equal(to_host(far), np.full((1, 2), -20_000))


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: _RadialBasis(0, 3), ShapeError, "in_features must be at least 1"),
        (lambda: _RadialBasis(3, 2).output_shape((3, 1)), ShapeError, r"put Flatten.* pass in_features=3"),
        (lambda: _PartialConv(3, [(0,)], 3).output_shape((2, 4, 4)), ShapeError, "expected images of 3 channels"),
        (lambda: _PartialConv(3, [(0,)], 3).output_shape((3, 2, 4)), ShapeError, "height of at least 3, got 2"),
        (lambda: _PartialConv(3, [(0,)], 3)(to_device(np.zeros((3, 4, 4), np.float32))), ShapeError, "expected images"),
        (lambda: _PartialConv(1, [(0,)], 3)(to_device(np.zeros((1, 1, 4, 4)))), DtypeError, "expected float32"),
        (lambda: _RadialBasis(3, 2)(to_device(np.zeros((1, 3)))), DtypeError, "expected float32"),
    ],
)  # fmt: skip
def test_wrong_sizes_and_dtypes_are_refused(act, error, message):
    with pytest.raises(error, match=message):
        act()
