"""A user's class counts as the layer that it derives from, unless it has a forward of its own."""

import numpy as np
import pytest

from xpcnn.backend import to_device, to_host
from xpcnn.errors import CheckpointError
from xpcnn.interop import onnx
from xpcnn.layers import Affine, ReLU, Sequential


class Named(ReLU):
    """ReLU by another name."""


class Doubled(ReLU):
    """2 max(x, 0)."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_onnx_refuses_a_forward_of_ones_own_and_writes_nothing(tmp_path):
    pytest.importorskip("onnx")
    model = Sequential(Affine(3, 2, rng=0), Doubled())
    with pytest.raises(CheckpointError, match=r"has a forward\(\) of its own, so it is no ReLU"):
        onnx.export(model, tmp_path / "model.onnx", (3,))
    assert list(tmp_path.iterdir()) == []


def test_onnx_writes_a_class_without_one_as_its_base(tmp_path):
    pytest.importorskip("onnx")
    model = Sequential(Affine(3, 2, rng=0), Named()).eval()
    onnx.export(model, tmp_path / "model.onnx", (3,))
    x = to_device(np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32))
    np.testing.assert_array_equal(to_host(onnx.load(tmp_path / "model.onnx").eval()(x)), to_host(model(x)))


@pytest.mark.peers
def test_a_torch_network_refuses_and_builds_alike(torch):
    from xpcnn.interop.torch import network

    with pytest.raises(CheckpointError, match=r"has a forward\(\) of its own"):
        network(Sequential(Affine(3, 2, rng=0), Doubled()), (3,))
    model = Sequential(Affine(3, 2, rng=0), Named()).eval()
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    found = network(model, (3,)).eval()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, to_host(model(to_device(x))), rtol=1e-5, atol=1e-6)
