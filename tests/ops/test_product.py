"""The product of two results, against plain loops and PyTorch."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_close, dtypes, layouts, normal, seeds, unchanged, upload

from xpcnn import ops

gates = st.sampled_from([(2, 3, 4, 5), (2, 3), (2, 3, 1, 1)])


@given(gates, seeds, dtypes, layouts)
def test_each_pixel_times_the_number_of_its_channel(backend, gate_shape, seed, dtype, layout):
    x, dy, gate = normal(seed, (2, 3, 4, 5), (2, 3, 4, 5), gate_shape, dtype=dtype)
    ours = upload(x, layout), upload(gate, layout), upload(dy, layout)
    with unchanged(*ours):
        y = ops.product(*ours[:2])
        dx, dgate = ops.product_backward(ours[2], *ours[:2])
    expected, dx_expected, dgate_expected = np.zeros(x.shape), np.zeros(x.shape), np.zeros(gate.shape)
    for n, c, h, w in np.ndindex(x.shape):
        place = {2: (n, c), 4: (n, c, h, w) if gate.shape == x.shape else (n, c, 0, 0)}[gate.ndim]
        expected[n, c, h, w] = x[n, c, h, w] * gate[place]
        dx_expected[n, c, h, w] = dy[n, c, h, w] * gate[place]
        dgate_expected[place] += dy[n, c, h, w] * x[n, c, h, w]
    assert_close(y, expected, dtype)
    assert_close(dx, dx_expected, dtype)
    assert_close(dgate, dgate_expected, dtype, atol=1e-5 if dtype == "float32" else 1e-12)


@given(gates, seeds)
def test_pytorch(torch, gate_shape, seed):
    x, dy, gate = normal(seed, (2, 3, 4, 5), (2, 3, 4, 5), gate_shape, dtype="float64")
    theirs = [torch.tensor(array, requires_grad=True) for array in (x, gate)]
    y = theirs[0] * theirs[1].reshape(*gate_shape, *[1] * (4 - len(gate_shape)))
    y.backward(torch.tensor(dy))
    assert_close(ops.product(x, gate), y.detach().numpy(), "float64")
    for ours, other in zip(ops.product_backward(dy, x, gate), theirs, strict=True):
        assert_close(ours, other.grad.numpy(), "float64")
