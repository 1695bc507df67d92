"""Product and Reshape: what they refuse, and squeeze-and-excitation against PyTorch."""

import numpy as np
import pytest
from strategies import normal

from xpcnn.errors import ShapeError
from xpcnn.layers import (
    Affine,
    Conv,
    Flatten,
    GlobalAveragePooling,
    Product,
    ReLU,
    Reshape,
    Sequential,
    Sigmoid,
)


def test_squeeze_and_excitation_is_pytorchs(torch):
    gate = Sequential(GlobalAveragePooling(), Affine(4, 2, rng=0), ReLU(), Affine(2, 4, rng=1), Sigmoid())
    layer = Product(gate).astype("float64")
    x, dy = normal(0, (2, 4, 5, 3), (2, 4, 5, 3))
    first, second = (torch.tensor(layer.gate[i].weight.data, requires_grad=True) for i in (1, 3))
    theirs = torch.tensor(x, requires_grad=True)
    y = theirs * torch.sigmoid(torch.relu(theirs.mean((2, 3)) @ first.T) @ second.T)[..., None, None]
    y.backward(torch.tensor(dy))
    assert np.allclose(layer(x), y.detach(), rtol=1e-12)
    assert np.allclose(layer.backward(dy), theirs.grad, rtol=1e-10)
    for i, other in ((1, first), (3, second)):
        assert np.allclose(layer.gate[i].weight.grad, other.grad, rtol=1e-10)


def test_a_gate_that_does_not_fit():
    layer = Product(Sequential(GlobalAveragePooling(), Affine(4, 3)))
    message = r"Product: body gives \(4, 5, 3\), gate \(3,\); .* end it with Affine\(\.\.\., 4\)"
    with pytest.raises(ShapeError, match=message):
        layer(normal(0, (2, 4, 5, 3), dtype="float32"))
    with pytest.raises(ShapeError, match=message):
        layer.output_shape((4, 5, 3))


@pytest.mark.parametrize("shape", [(), (0,), (-1, -1), (3, -2)])
def test_an_invalid_shape(shape):
    with pytest.raises(ShapeError, match="at most one of them -1"):
        Reshape(shape)


@pytest.mark.parametrize("shape", [(5, 5), (-1, 5)])
def test_another_number_of_elements(shape):
    with pytest.raises(ShapeError, match=r"got 12 in \(3, 4\); pass a shape of 12 numbers"):
        Reshape(shape).output_shape((3, 4))


def test_reshape_makes_images_in_a_decoder():
    model = Sequential(Flatten(), Affine(48, 18, rng=0), Reshape((2, 3, 3)), Conv(2, 1, 3, rng=0))
    assert model.output_shape((3, 4, 4)) == (1, 1, 1)
    assert model(normal(0, (5, 3, 4, 4), dtype="float32")).shape == (5, 1, 1, 1)
