"""A label that no class has, made on the device, where nobody may look at it: the loss must not be a number."""

import numpy as np
import pytest

from xpcnn.backend import to_device, to_host, use_backend
from xpcnn.kernels.cuda import launch, source, substitutes
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.simulated import stand_in

D = 4
LOGITS = np.random.default_rng(0).standard_normal((3, D)).astype(np.float32)


def loss(label, function):
    """The loss of three rows, of which the middle one has this label."""
    return float(to_host(function(to_device(LOGITS), to_device(np.array([0, label, 1])))))


@pytest.mark.parametrize("label", [-1, -D, D, D + 1, 2**31, 2**32 + 1, -(2**63), 2**63 - 1])
@pytest.mark.parametrize("kernels", ["reference", "tuned"])
def test_a_label_out_of_range_is_no_number(kernels, label):
    with use_backend("simulated", kernels) as active:
        if kernels == "tuned" and not active.kernels:
            pytest.skip(active.remark)
        assert np.isfinite(loss(D - 1, SoftmaxCrossEntropy()))
        try:
            assert np.isnan(loss(label, SoftmaxCrossEntropy()))
        except IndexError as error:
            assert "wrap it around silently" in str(error)  # noqa: PT017


def test_a_label_used_raw_is_found(tuned, monkeypatch):
    if not tuned.kernels:
        pytest.skip(tuned.remark)
    sound, text = "0 <= label && label < D ? shift", source.text("softmax_cross_entropy.cu")
    assert text.count(sound) == 1
    monkeypatch.setattr(launch, "text", lambda file: text.replace(sound, "true ? shift"))
    op = substitutes(stand_in)["softmax_cross_entropy"]
    for label in (-1, D):  # which read the neighbouring rows
        assert np.isfinite(loss(label, lambda *given: op(*given)[0]))
        assert np.isnan(loss(label, lambda *given: tuned.kernels["softmax_cross_entropy"](*given)[0]))
