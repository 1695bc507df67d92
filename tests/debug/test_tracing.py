import numpy as np
import pytest

from xpcnn.backend import to_device
from xpcnn.debug.tracing import traced
from xpcnn.layers import Affine, ReLU, Residual, Sequential


@pytest.fixture
def model():
    return Sequential(Affine(3, 3, rng=0), Residual(ReLU()))


def test_hooks_are_called_in_the_order_of_computation(model):
    met = []
    with traced(
        model,
        enter=lambda name, layer, direction, value: met.append(("in", name, direction)),
        leave=lambda name, layer, direction, value: met.append(("out", name, direction)),
    ):
        y = model(to_device(np.ones((2, 3), np.float32)))
        model.backward(y)
    names = [name for way, name, direction in met if way == "out" and direction == "forward"]
    assert names == ["0", "1.body", "1.shortcut", "1", ""]
    names = [name for way, name, direction in met if way == "in" and direction == "backward"]
    assert names == ["", "1", "1.shortcut", "1.body", "0"]


def test_hooks_get_inputs_and_outputs(model):
    seen = {}
    x = to_device(np.ones((2, 3), np.float32))
    with traced(model, leave=lambda name, layer, direction, value: seen.update({(name, direction): value})):
        y = model(x)
        dx = model.backward(y, need_dx=False)
    assert seen["", "forward"] is y
    assert seen["1", "forward"] is y
    assert dx is None
    assert seen["0", "backward"] is None


def test_a_layer_in_two_places_is_hooked_once():
    shared = ReLU()
    met = []
    with traced(Sequential(shared, shared), leave=lambda name, *rest: met.append(name)) as _:
        Sequential(shared, shared)(to_device(np.ones(2, np.float32)))
    assert met == ["0", "0"]


def test_hooks_end_with_the_block_and_with_an_error(model):
    met = []
    with pytest.raises(KeyError), traced(model, enter=lambda *seen: met.append(seen)):
        raise KeyError
    model(to_device(np.ones((2, 3), np.float32)))
    assert not met
