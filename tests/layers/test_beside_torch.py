"""Layers that PyTorch has too: the same y, dx and parameter gradients, in float64."""

import math

import numpy as np
import pytest
from strategies import distinct

from xpcnn.layers import GELU, ConvTranspose, GlobalMaxPooling, GroupNorm, LayerNorm, SiLU, Upsample
from xpcnn.ops.smooth import erf

IMAGES = (2, 4, 6, 5)
PAIRS = {
    "gelu": (GELU, lambda nn: nn.GELU(), IMAGES),
    "silu": (SiLU, lambda nn: nn.SiLU(), IMAGES),
    "group norm": (lambda: GroupNorm(2, 4, 1e-3), lambda nn: nn.GroupNorm(2, 4, 1e-3), IMAGES),
    "group norm of rows": (lambda: GroupNorm(3, 6), lambda nn: nn.GroupNorm(3, 6), (5, 6)),
    "layer norm": (lambda: LayerNorm(5), lambda nn: nn.LayerNorm(5), IMAGES),
    "layer norm of images": (lambda: LayerNorm((4, 6, 5)), lambda nn: nn.LayerNorm((4, 6, 5)), IMAGES),
    "global max": (GlobalMaxPooling, lambda nn: nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()), IMAGES),
    "nearest": (lambda: Upsample((2, 3)), lambda nn: nn.Upsample(scale_factor=(2, 3)), IMAGES),
    "bilinear": (
        lambda: Upsample((4, 3), "bilinear"), lambda nn: nn.Upsample(scale_factor=(4, 3), mode="bilinear"), IMAGES,
    ),
    "transpose": (lambda: ConvTranspose(4, 3, 3, rng=0), lambda nn: nn.ConvTranspose2d(4, 3, 3), IMAGES),
    "transpose, all options": (
        lambda: ConvTranspose(4, 6, (3, 2), (2, 3), (1, 0), (1, 2), (1, 2), 2, rng=0),
        lambda nn: nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), (1, 2), 2, True, (1, 2)),
        IMAGES,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "other", "shape"), PAIRS.values(), ids=PAIRS)
def test_the_same_as_in_pytorch(torch, make, other, shape):
    layer, module = make().astype("float64"), other(torch.nn).double()
    rng = np.random.default_rng(0)
    theirs = dict(module.named_parameters())
    for name, parameter in layer.named_parameters():
        parameter.data[...] = rng.standard_normal(parameter.data.shape)
        theirs[name].data = torch.from_numpy(parameter.data.copy())
    assert theirs.keys() == dict(layer.named_parameters()).keys()
    x = distinct(0, shape) / 4
    its = torch.from_numpy(x).requires_grad_()
    y, expected = layer(x), module(its)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-11, atol=1e-11)
    dy = rng.standard_normal(y.shape)
    expected.backward(torch.from_numpy(dy))
    np.testing.assert_allclose(layer.backward(dy), its.grad.numpy(), rtol=1e-10, atol=1e-11)
    for name, parameter in layer.named_parameters():
        np.testing.assert_allclose(parameter.grad, theirs[name].grad.numpy(), rtol=1e-10, atol=1e-11)


def test_the_error_function():
    x = np.concatenate([np.linspace(-7, 7, 4001), [0.46875, -0.46875, 4, -4, 30, -30, 1e300, -1e300]])
    with np.errstate(over="ignore", invalid="ignore"):
        assert np.abs(erf(x[:-2]) - [math.erf(value) for value in x[:-2]]).max() < 4e-16


@pytest.mark.parametrize(("make", "message"), [
    (lambda: GroupNorm(3, 4), r"GroupNorm\(3, 4\): groups must divide channels; pass one of \[1, 2, 4\]"),
    (lambda: GroupNorm(2, 4, eps=-1), "GroupNorm: expected 0 < eps.*, got -1; the default is 1e-5"),
    (lambda: LayerNorm(0), "LayerNorm: expected sizes of at least 1"),
    (lambda: LayerNorm(4)(np.ones((2, 5), "f")), r"expected samples that end in \(4,\), got \(5,\); pass shape=\(5,\)"),
    (lambda: Upsample(0), r"scale: expected an int or a .* of at least 1, got 0; pass scale=1"),
    (lambda: Upsample(2, "cubic"), "mode must be 'nearest' or 'bilinear', got 'cubic'"),
    (lambda: ConvTranspose(4, 3, 3, groups=2), "groups must divide both"),
    (lambda: ConvTranspose(4, 3, 3, 2, output_padding=2), r"smaller than the stride \(2, 2\), got 2; pass 0"),
    (lambda: ConvTranspose(4, 3, 3)(np.ones((2, 5, 3, 3), "f")), "expected 4 channels, got 5"),
    (lambda: ConvTranspose(4, 3, 3, padding=3).output_shape((4, 2, 2)), "the padding leaves nothing of"),
])  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
