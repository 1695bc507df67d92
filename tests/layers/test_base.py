"""Parameters, buffers, modes, no_grad, and what a model checks before forward."""

import numpy as np
import pytest
from strategies import upload

from xpcnn.backend import to_host
from xpcnn.errors import BackendError, BackwardError, DtypeError
from xpcnn.layers import Affine, BatchNorm, Buffer, Dropout, Layer, Parameter, ReLU, Sequential, no_grad

X = np.ones((2, 3), np.float32)


def test_a_parameter_has_a_gradient_to_match(backend):
    parameter = Parameter(X)
    assert (parameter.grad.shape, parameter.grad.dtype) == (X.shape, X.dtype)
    assert not to_host(parameter.grad).any()
    parameter.grad[...] = 1
    grad = parameter.grad
    parameter.data = upload(2 * X)
    assert parameter.grad is grad
    parameter.data = upload(X.astype(np.float64))
    assert parameter.grad.dtype == "float64"
    parameter.data = upload(X[:1].astype(np.float64))
    assert parameter.grad.shape == (1, 3)
    assert repr(parameter) == "Parameter(1, 3)"
    assert repr(Buffer(X)) == "Buffer(2, 3)"


def test_astype_converts_parameters_gradients_and_floating_buffers(backend):
    model = Sequential(Affine(3, 2, rng=0), BatchNorm(2), Dropout(rng=0))
    assert model.astype("float64") is model
    assert (
        {str(p.data.dtype) for p in model.parameters()}
        == {str(p.grad.dtype) for p in model.parameters()}
        == {"float64"}
    )
    assert [str(b.data.dtype) for _, b in model.named_buffers()] == ["float64", "float64", "uint64"]
    assert model(upload(X.astype(np.float64))).dtype == "float64"


def test_no_grad_nests_and_ends_with_an_error_too():
    layer = ReLU()
    with no_grad():
        with no_grad():
            layer(X)
        layer(X)
        assert not layer._frames.stack
        with pytest.raises(DtypeError), no_grad():
            layer(None)
        layer(X)
        assert not layer._frames.stack
    layer(X)
    layer.backward(X)


def test_backward_frees_what_forward_kept():
    layer = ReLU()
    layer(X)
    assert layer._frames.stack
    layer.backward(X)
    assert not layer._frames.stack
    with pytest.raises(
        BackwardError, match=r"ReLU\(\): .* once for each backward\(\), outside of no_grad\(\)"
    ):
        layer.backward(X)


def test_training_mode_is_a_choice():
    model = Sequential(Dropout(), Sequential(Dropout()))
    model.train(False)
    assert not model[1][0].training
    model[1].train()
    assert (model[0].training, model[1][0].training) == (False, True)


def elsewhere(module):
    """Return an object that looks like an array of a library that is not active."""
    looks = {
        "__module__": module,
        "__cuda_array_interface__": {},
        "shape": (2, 3),
        "dtype": np.dtype("float32"),
    }
    return type("ndarray", (), looks)()


def test_arrays_of_another_backend_fail_at_the_models_boundary():
    with pytest.raises(
        BackendError, match="got a cupy array, but the active backend is numpy; pass to_device"
    ):
        Sequential(ReLU())(elsewhere("cupy"))


def test_parameters_of_another_backend_fail_at_the_models_boundary():
    model = Sequential(Affine(3, 2))
    model[0].weight._data = elsewhere("cupy._core.core")
    with pytest.raises(
        BackendError, match=r"^Sequential of 1 layers: its parameters are cupy arrays, .* numpy; call"
    ) as e:
        model(X)
    assert str(e.value).endswith("call model.to_device(), or set_backend('cupy')")


def test_to_device_keeps_the_values(backend):
    model = Sequential(Affine(3, 2, rng=0), BatchNorm(2))
    before = to_host(model[0].weight.data).copy()
    assert model.to_device() is model
    assert isinstance(model[0].weight.data, backend.ndarray)
    assert np.array_equal(to_host(model[0].weight.data), before)


def test_inputs_that_are_not_arrays():
    with pytest.raises(
        DtypeError, match=r"ReLU\(\): expected a numpy.ndarray, got list; pass to_device\(np.asarray"
    ):
        ReLU()([1.0, 2.0])


def test_a_layer_without_forward_or_backward_says_so():
    class Empty(Layer):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty has no forward\(\)"):
        Empty()(X)
    with pytest.raises(NotImplementedError, match=r"Empty has no backward\(\)"):
        Empty().backward(X)
    assert repr(Empty()) == "Empty()"
