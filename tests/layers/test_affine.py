"""Affine alone: any number of leading axes, and an error that names the right in_features."""

import numpy as np
import pytest
from strategies import assert_close, normal, upload

from xpcnn.backend import to_host
from xpcnn.errors import DtypeError, ShapeError
from xpcnn.layers import Affine, Conv, Flatten, Pooling, Sequential


@pytest.mark.parametrize("leading", [(4,), (2, 2), (1, 4, 1), (2, 1, 2, 1)])
def test_leading_axes_are_a_longer_batch(backend, leading):
    layer, flat = Affine(5, 3, rng=0), Affine(5, 3, rng=0)
    x, dy = normal(0, (4, 5), (4, 3), dtype="float32")
    y = layer(upload(x.reshape(*leading, 5)))
    assert_close(y, to_host(flat(upload(x))).reshape(*leading, 3), "float32")
    dx = layer.backward(upload(dy.reshape(*leading, 3)))
    assert_close(dx, to_host(flat.backward(upload(dy))).reshape(*leading, 5), "float32")
    assert_close(layer.weight.grad, dy.T.astype(np.float64) @ x, "float32")
    assert_close(layer.bias.grad, dy.astype(np.float64).sum(axis=0), "float32")


def test_by_hand(backend):
    layer = Affine(2, 2)
    layer.weight.data = upload(np.array([[1, 2], [3, 4]], np.float32))
    layer.bias.data = upload(np.array([10, 20], np.float32))
    assert to_host(layer(upload(np.array([[1, -1]], np.float32)))).tolist() == [[9, 19]]


def test_parameters_and_their_first_values():
    layer = Affine(300, 200, rng=0)
    assert [(name, p.data.shape) for name, p in layer.named_parameters()] == [
        ("weight", (200, 300)),
        ("bias", (200,)),
    ]
    assert not layer.bias.data.any()
    assert layer.weight.data.std() == pytest.approx(np.sqrt(2 / 300), rel=0.02)
    assert {p.data.dtype for p in layer.parameters()} == {np.dtype("float32")}


def test_shapes_and_multiply_adds():
    assert Affine(5, 3).output_shape((7, 2, 5)) == (7, 2, 3)
    assert Affine(5, 3).multiply_adds((7, 2, 5)) == 7 * 2 * 5 * 3


IMAGE = np.zeros((8, 2, 6, 5), np.float32)


@pytest.mark.parametrize(
    ("layer", "x", "error", "message"),
    [
        (
            Affine(9, 3),
            IMAGE[:, 0, 0],
            ShapeError,
            "Affine(9, 3): expected 9 features, got shape (8, 5); pass in_features=5",
        ),
        (
            Affine(60, 3),
            IMAGE,
            ShapeError,
            "expected 60 features, got shape (8, 2, 6, 5); put Flatten() before it",
        ),
        (Affine(50, 3), IMAGE, ShapeError, "put Flatten() before it and pass in_features=60"),
        (Affine(9, 3), IMAGE[:, 0], ShapeError, "got shape (8, 6, 5); pass in_features=5"),
        (Affine(5, 3), IMAGE[0, 0, 0], ShapeError, "got shape (5,); pass x[None] for a batch of one"),
        (
            Affine(5, 3),
            IMAGE[:, 0, 0].astype(np.float64),
            DtypeError,
            "Affine(5, 3): expected float32 like its weight",
        ),
        (Affine(5, 3), IMAGE[:, 0, 0].astype(np.uint8), DtypeError, "pass x.astype('float32') / 255"),
        (Affine(5, 3), [[1.0] * 5], DtypeError, "expected a numpy.ndarray, got list"),
    ],
)
def test_bad_input(layer, x, error, message):
    with pytest.raises(error) as caught:
        layer(x)
    assert message in str(caught.value)


def test_the_advice_of_the_message_works():
    features = Sequential(Conv(1, 4, 3, rng=0), Pooling(2))
    with pytest.raises(ShapeError, match=r"put Flatten\(\) before it and pass in_features=100$"):
        Sequential(*features, Affine(99, 2)).output_shape((1, 12, 12))
    assert Sequential(*features, Flatten(), Affine(100, 2)).output_shape((1, 12, 12)) == (2,)


@pytest.mark.parametrize(("sizes", "message"), [((0, 3), "in_features"), ((3, -2), "out_features")])
def test_bad_construction(sizes, message):
    with pytest.raises(ShapeError, match=f"Affine: {message} must be at least 1, got {min(sizes)}"):
        Affine(*sizes)
