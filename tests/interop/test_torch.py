"""Networks from torchvision, narrow, stored with what PyTorch says of them: see tests/fixtures/make_torch.py."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from xpcnn import models
from xpcnn.backend import to_device, to_host
from xpcnn.errors import CheckpointError, UnsealedWarning
from xpcnn.interop import torch as interop
from xpcnn.layers import Affine, BatchNorm, Conv, Dropout, Flatten, Pooling, ReLU, Sequential
from xpcnn.losses import SoftmaxCrossEntropy

FIXTURES = Path(__file__).parents[1] / "fixtures"
WIDTHS = {
    "alexnet_torchvision": 1 / 64,
    "vgg11_bn": 1 / 64,
    "googlenet_torchvision": 1 / 16,
    "resnet18": 1 / 32,
    "resnet50": 1 / 64,
}
every_fixture = pytest.mark.parametrize("name", WIDTHS)


def stored(name):
    arrays = load_file(FIXTURES / f"{name}.safetensors")
    return arrays, {key.removeprefix("state."): a for key, a in arrays.items() if key.startswith("state.")}


def build(name, shape):
    model = models.BY_NAME[name](10, 0, input_shape=shape, width=WIDTHS[name])
    for _, layer in model.named_layers():
        if isinstance(layer, Dropout):
            layer.p = 0.0
    return model


def small():
    return Sequential(
        Conv(1, 2, 3, rng=0), BatchNorm(2), ReLU(), Pooling(2),
        Flatten(), Affine(8, 5, rng=1), ReLU(), Affine(5, 3, rng=2),
    )  # fmt: skip


def renamed(model):
    """The model's state under the names that somebody's own PyTorch class would have."""
    layers = {"0": "conv_a", "1": "norm", "5": "fc_z", "7": "fc_b"}
    state = {}
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        prefix, _, kind = interop.torch_name(name).partition(".")
        state[f"net.{layers[prefix]}.{kind}"] = to_host(value.data).copy()
    order = ["conv_a", "norm", "fc_z", "fc_b"]
    return dict(sorted(state.items(), key=lambda item: order.index(item[0].split(".")[1])))


@every_fixture
def test_logits_agree_with_pytorch(backend, name):
    arrays, state = stored(name)
    images = arrays["images"].astype(np.float32) / np.float32(255)
    model = build(name, images.shape[1:])
    interop.load(model, state)
    logits = to_host(model.eval()(to_device(images)))
    assert np.abs(logits - arrays["logits"]).max() < 1e-4 * np.abs(arrays["logits"]).max()


@every_fixture
def test_gradients_agree_with_pytorch(backend, name):
    arrays, state = stored(name)
    images = arrays["images"].astype(np.float64) / np.float32(255)
    model, criterion = build(name, images.shape[1:]), SoftmaxCrossEntropy()
    interop.load(model, state)
    model.astype("float64").train()
    criterion(
        model(to_device(arrays["images"].astype(np.float32) / np.float32(255)).astype("float64")),
        to_device(arrays["labels"]),
    )
    model.backward(criterion.backward())
    expected = {key.removeprefix("gradient."): a for key, a in arrays.items() if key.startswith("gradient.")}
    found = {interop.torch_name(key): to_host(p.grad) for key, p in model.named_parameters()}
    assert found.keys() == expected.keys()
    zero = 1e-12 * max(
        array[0] for array in expected.values()
    )  # a bias before BatchNorm has no gradient but rounding
    for key, gradient in found.items():
        said = np.concatenate([[np.linalg.norm(gradient)], gradient.reshape(-1)[:8]])
        atol = zero + 1e-9 * expected[key][0]
        np.testing.assert_allclose(said, expected[key], rtol=1e-6, atol=atol, err_msg=key)


@every_fixture
def test_saved_weights_have_torchvisions_names_and_shapes(tmp_path, name):
    arrays, state = stored(name)
    model = build(name, arrays["images"].shape[1:])
    interop.load(model, state)
    interop.save(model, tmp_path / "weights.safetensors")
    again = load_file(tmp_path / "weights.safetensors")
    assert again.keys() == state.keys()
    assert all(np.array_equal(again[key], state[key]) for key in state)
    other = build(name, arrays["images"].shape[1:])
    interop.load(other, tmp_path / "weights.safetensors")
    assert all(
        np.array_equal(to_host(one.data), to_host(two.data))
        for one, two in zip(model.parameters(), other.parameters(), strict=True)
    )


def test_auxiliary_heads_have_torchvisions_names():
    names = {
        interop.torch_name(name)
        for name, _ in models.googlenet(10, 0, auxiliary=True, width=1 / 16).named_parameters()
    }
    assert {
        "inception4b.branch2.0.conv.weight",
        "aux1.conv.conv.weight",
        "aux2.fc2.bias",
        "fc.weight",
    } <= names


def test_auxiliary_heads_are_left_out_where_the_model_has_none():
    narrow = {"num_classes": 10, "width": 1 / 16}
    source = models.googlenet(rng=0, auxiliary=True, **narrow)
    state = {interop.torch_name(name): to_host(value.data) for name, value in source.named_parameters()}
    target = models.googlenet(rng=1, **narrow)
    interop.load(target, state)
    for name, value in target.named_parameters():
        assert np.array_equal(to_host(value.data), state[interop.torch_name(name)]), name
    other = models.googlenet(rng=1, auxiliary=True, **narrow)
    with pytest.raises(CheckpointError, match=r"aux1\.conv\.conv\.weight is missing"):
        interop.load(other, {name: array for name, array in state.items() if "aux1" not in name})


def test_other_names_are_matched_in_order(backend):
    source, target = small(), small()
    source[0].weight.data += 1
    source[1].running_mean.data += 2
    interop.load(target, renamed(source) | {"net.norm.num_batches_tracked": np.int64([3])})
    for (name, one), (_, two) in zip(source.named_parameters(), target.named_parameters(), strict=True):
        assert np.array_equal(to_host(one.data), to_host(two.data)), name
    assert np.array_equal(to_host(target[1].running_mean.data), [2, 2])


def test_layers_that_somebody_calls_aux1_are_layers():
    source, target = small(), small()
    source[1].running_mean.data += 2
    interop.load(target, {name.replace("net.", "aux1."): array for name, array in renamed(source).items()})
    assert np.array_equal(to_host(target[1].running_mean.data), [2, 2])


def test_a_safetensors_file_of_other_names_has_no_order_and_is_refused(tmp_path):
    save_file(renamed(small()), tmp_path / "other.safetensors")
    with (
        pytest.warns(UnsealedWarning, match="has no seal"),
        pytest.raises(
            CheckpointError, match=r"0\.weight is missing.* or pass the state dict, which has an order"
        ),
    ):
        interop.load(small(), tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("5.bias"),
            r"state dict: expected the weights of .*, but 5\.bias is missing; build",
        ),
        (lambda state: state.update(extra=np.zeros(2)), "extra is unexpected"),
        (
            lambda state: state.update({"7.weight": np.zeros((4, 5))}),
            r"7\.weight is \(4, 5\), the model's \(3, 5\)",
        ),
        (lambda state: state.update(epoch=3), "expected epoch to be a tensor, got int.*'state_dict'"),
    ],
)
def test_what_is_wrong_is_named_and_the_model_stays_as_it_was(change, message):
    model, state = small(), {name: p + 1 for name, p in _state(small()).items()}
    before = _state(model)
    change(state)
    with pytest.raises(CheckpointError, match=message):
        interop.load(model, state)
    assert all(np.array_equal(before[name], array) for name, array in _state(model).items())


def _state(model):
    values = [*model.named_parameters(), *model.named_buffers()]
    return {interop.torch_name(name): to_host(value.data).copy() for name, value in values}


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        interop.load(small(), tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match=r"absent\.safetensors"):
        interop.load(small(), tmp_path / "absent.safetensors")
    with pytest.raises(CheckpointError, match="NCHW and cross-correlation"):
        interop.load(Sequential(Conv(1, 2, 3, flip_kernel=True)), {})


def test_pth_files_with_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    source, target = small(), small()
    source[0].weight.data += 1
    interop.save(source, tmp_path / "weights.pth")
    assert torch.load(tmp_path / "weights.pth", weights_only=True)["1.running_var"].shape == (2,)
    interop.load(target, tmp_path / "weights.pth")
    assert np.array_equal(target[0].weight.data, source[0].weight.data)
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")  # a pickle of code: weights_only refuses it
    with pytest.raises(CheckpointError, match="weights_only=True"):
        interop.load(small(), tmp_path / "module.pth")


def test_pth_files_without_pytorch_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    (tmp_path / "weights.pth").write_bytes(b"")
    for act in (interop.load, interop.save):
        with pytest.raises(CheckpointError, match=r"use \.safetensors, or run: pip install torch"):
            act(small(), tmp_path / "weights.pth")
