from functools import partial

import numpy as np
import pytest

from xpcnn.backend import Array, to_device, xp
from xpcnn.debug.tracing import traced
from xpcnn.errors import DtypeError
from xpcnn.layers import Affine, Layer, ReLU, Residual, Sequential
from xpcnn.simulated import dtype_ledger
from xpcnn.simulated.dtypes import PolicyError


class Promoting(Layer):
    """Says np.float64 where it should say float."""

    def __init__(self, forward=1.0, backward=1.0):
        self.forward_factor, self.backward_factor = forward, backward

    def forward(self, x: Array) -> Array:
        return x * self.forward_factor

    def backward(self, dy: Array, need_dx=True):
        return dy * self.backward_factor

    def __repr__(self):
        return "Promoting()"


@pytest.fixture
def x():
    return to_device(np.ones((2, 3), np.float32))


def test_a_float64_is_refused_with_the_layers_name_and_the_line(x):
    model = Sequential(Affine(3, 3, rng=0), Sequential(ReLU(), Promoting(np.float64(2))))
    with (
        pytest.raises(
            PolicyError,
            match=r"multiply made float64 at simulated/test_dtypes\.py:\d+, in layer '1\.1' \(Promoting\(\)\), "
            r"forward; allowed: float32",
        ),
        dtype_ledger(partial(traced, model)),
    ):
        model(x)


def test_backward_too(x):
    model = Residual(Promoting(backward=np.float64(2)))
    with dtype_ledger(partial(traced, model)):
        y = model(x)
    with (
        pytest.raises(DtypeError, match=r"in layer 'body' \(Promoting\(\)\), backward"),
        dtype_ledger(partial(traced, model)),
    ):
        model.backward(y)


@pytest.mark.parametrize(
    "make",
    [
        lambda: xp.zeros(3),
        lambda: xp.empty(3),
        lambda: xp.ones(2),
        lambda: xp.arange(3) / 2,
        lambda: xp.arange(3, dtype=xp.int32).mean(),
    ],
)
def test_a_default_dtype_is_float64_and_refused(make):
    with pytest.raises(PolicyError, match=r"made float64 at .*, outside of any layer"), dtype_ledger():
        make()


def test_integers_and_booleans_are_always_allowed(x):
    with dtype_ledger() as made:
        (x > 0).astype("uint8")
        x.argmax(axis=1)
        x.sum()
    assert made == {"bool": 1, "uint8": 1, "int64": 1, "float32": 1}


def test_the_policy_may_be_another(x):
    with dtype_ledger(allowed=("float32", "float64")):
        x.astype("float64")
    with pytest.raises(PolicyError), dtype_ledger(allowed=("float16",)):
        x + 1


def test_afterwards_nothing_is_watched_and_the_layers_are_as_before(x):
    model = Sequential(Promoting(np.float64(2)))
    with pytest.raises(PolicyError), dtype_ledger(partial(traced, model)):
        model(x)
    assert model(x).dtype == np.float64
    assert "forward" not in vars(model[0])
