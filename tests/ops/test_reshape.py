import numpy as np

from xpcnn import ops
from xpcnn.backend import to_device, to_host


def test_flatten_varies_the_last_axis_fastest(backend):
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(np.float32)
    found = to_host(ops.flatten(to_device(x)))
    assert found.shape == (2, 60)
    for n, c, i, j in np.ndindex(x.shape):
        assert found[n, (c * 4 + i) * 5 + j] == x[n, c, i, j]
