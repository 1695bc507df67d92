"""Softmax and cross-entropy against `math`, and at the limits of the number range."""

import math

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_close, dtypes, layouts, normal, seeds, unchanged, upload

from xpcnn import ops
from xpcnn.backend import to_host

tables = st.tuples(st.integers(1, 5), st.integers(1, 6))  # (M, D)


@given(tables, seeds, dtypes, layouts, st.sampled_from((0, 1, -1)))
def test_softmax(backend, shape, seed, dtype, layout, axis):
    scores = 3 * normal(seed, shape, dtype=dtype)
    x = upload(scores, layout)
    with unchanged(x):
        y = ops.softmax(x, axis)
    assert_close(y, np.apply_along_axis(reference.softmax, axis, scores), dtype)


@given(tables, seeds, dtypes, layouts, st.sampled_from((0, 1, -1)))
def test_softmax_backward(backend, shape, seed, dtype, layout, axis):
    scores, dy, u = normal(seed, shape, shape, shape)
    function = lambda x: np.apply_along_axis(reference.softmax, axis, x)  # noqa: E731
    arguments = upload(dy.astype(dtype), layout), upload(function(scores).astype(dtype), layout)
    with unchanged(*arguments):
        dx = ops.softmax_backward(*arguments, axis)
    assert (dx.shape, dx.dtype) == (shape, dtype)
    along = reference.inner(reference.derivative(function, scores, u), dy)
    assert reference.inner(u, to_host(dx)) == pytest.approx(along, rel=1e-4, abs=1e-5)


@st.composite
def classified(draw):
    """(logits, integer labels, the same labels one-hot)."""
    (M, D), seed, dtype = draw(tables), draw(seeds), draw(dtypes)
    labels = np.random.default_rng(seed).integers(0, D, M)
    return 3 * normal(seed, (M, D), dtype=dtype), labels, np.eye(D, dtype=dtype)[labels]


@given(classified(), layouts)
def test_cross_entropy(backend, case, layout):
    logits, labels, one_hot = case
    z = upload(logits, layout)
    for targets in (upload(labels), upload(labels.astype(np.uint8)), upload(one_hot, layout)):
        with unchanged(z, targets):
            loss, probabilities = ops.softmax_cross_entropy(z, targets)
        assert_close(loss, reference.cross_entropy(logits, one_hot), logits.dtype)
        assert_close(probabilities, np.apply_along_axis(reference.softmax, 1, logits), logits.dtype)


@given(classified(), seeds, layouts)
def test_cross_entropy_backward(backend, case, seed, layout):
    logits, labels, one_hot = case
    u, loss = normal(seed, logits.shape), lambda z: reference.cross_entropy(z, one_hot)
    along = reference.derivative(loss, logits.astype(np.float64), u)
    p = upload(np.apply_along_axis(reference.softmax, 1, logits).astype(logits.dtype), layout)
    for targets in (upload(labels), upload(one_hot, layout)):
        with unchanged(p, targets):
            dlogits = ops.softmax_cross_entropy_backward(p, targets)
        assert (dlogits.shape, dlogits.dtype) == (logits.shape, logits.dtype)
        assert reference.inner(u, to_host(dlogits)) == pytest.approx(along, rel=1e-4, abs=1e-5)


@given(tables, seeds)
def test_targets_may_be_any_probabilities(backend, shape, seed):
    logits = normal(seed, shape)
    targets = np.random.default_rng(seed).dirichlet(np.ones(shape[1]), shape[0])
    loss, _ = ops.softmax_cross_entropy(upload(logits), upload(targets))
    assert float(loss) == pytest.approx(reference.cross_entropy(logits, targets))


@given(tables, seeds, dtypes, layouts)
def test_rows_of_weights_that_do_not_sum_to_one(backend, shape, seed, dtype, layout):
    logits, u = normal(seed, shape, dtype=dtype), normal(seed + 1, shape)
    rng = np.random.default_rng(seed)
    targets = rng.random(shape) * rng.integers(0, 4, (shape[0], 1))
    targets[0] = 0
    targets = targets.astype(dtype)
    z, t = upload(logits, layout), upload(targets, layout)
    loss, p = ops.softmax_cross_entropy(z, t)
    assert float(loss) == pytest.approx(reference.cross_entropy(logits, targets), rel=1e-4, abs=1e-6)
    with unchanged(p, t):
        dlogits = to_host(ops.softmax_cross_entropy_backward(p, t))
    sums = targets.sum(axis=1, dtype=np.float64)[:, None]
    exact = np.apply_along_axis(reference.softmax, 1, logits) * sums - targets
    np.testing.assert_allclose(dlogits, exact / shape[0], rtol=1e-4, atol=1e-5)
    assert not dlogits[0].any()
    along = reference.derivative(lambda z: reference.cross_entropy(z, targets), logits.astype(np.float64), u)
    assert reference.inner(u, dlogits) == pytest.approx(along, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_of_1e4_are_safe(backend, dtype):
    z = upload(np.array([[1e4, 0, -1e4], [1e4, 1e4, -1e4]], dtype))
    assert_close(ops.softmax(z), [[1, 0, 0], [0.5, 0.5, 0]], dtype, rtol=0, atol=0)
    labels = upload(np.array([2, 0]))
    loss, probabilities = ops.softmax_cross_entropy(z, labels)
    assert float(loss) == pytest.approx((2e4 + math.log(2)) / 2)
    dlogits = ops.softmax_cross_entropy_backward(probabilities, labels)
    assert_close(dlogits, [[0.5, 0, -0.5], [-0.25, 0.25, 0]], dtype)


@pytest.mark.parametrize("one_hot", [False, True])
def test_a_logit_of_minus_infinity_is_probability_zero(backend, one_hot):
    z = np.array([[0.0, -np.inf, 0.0], [-np.inf, 5.0, -np.inf]])
    labels = np.array([2, 1])
    assert_close(ops.softmax(upload(z)), [[0.5, 0, 0.5], [0, 1, 0]], "float64")
    targets = upload(np.eye(3)[labels] if one_hot else labels)
    loss, probabilities = ops.softmax_cross_entropy(upload(z), targets)
    assert float(loss) == pytest.approx(math.log(2) / 2)
    assert_close(probabilities, [[0.5, 0, 0.5], [0, 1, 0]], "float64")
    dlogits = ops.softmax_cross_entropy_backward(probabilities, targets)
    assert_close(dlogits, [[0.25, 0, -0.25], [0, 0, 0]], "float64")


def test_the_loss_of_an_impossible_class_is_infinite(backend):
    loss, _ = ops.softmax_cross_entropy(upload(np.array([[0.0, -np.inf]])), upload(np.array([1])))
    assert float(loss) == math.inf


def test_nan_reaches_the_loss(backend):
    """Training watches the loss for it."""
    loss, _ = ops.softmax_cross_entropy(
        upload(np.array([[0.0, np.nan], [0.0, 1.0]])), upload(np.array([0, 1]))
    )
    assert math.isnan(float(loss))


@given(classified())
def test_pytorch(torch, case):
    logits, labels, one_hot = case
    weights = np.linspace(0, 2, logits.size).reshape(logits.shape).astype(logits.dtype)  # rows of any sum
    for targets in (labels, one_hot, weights):
        z = torch.tensor(logits, requires_grad=True)
        theirs = torch.nn.functional.cross_entropy(z, torch.tensor(targets))
        theirs.backward()
        loss, probabilities = ops.softmax_cross_entropy(logits, targets)
        assert_close(loss, theirs.detach().numpy(), logits.dtype)
        dlogits = ops.softmax_cross_entropy_backward(probabilities, targets)
        assert_close(dlogits, z.grad.numpy(), logits.dtype)
