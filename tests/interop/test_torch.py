"""Networks from torchvision, narrow, stored with what PyTorch says of them: see tests/fixtures/make_torch.py."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from xpcnn import models
from xpcnn.backend import to_device, to_host
from xpcnn.checkpoint import save_weights
from xpcnn.errors import CheckpointError, MatchedByOrderWarning, UnsealedWarning
from xpcnn.interop import torch as interop
from xpcnn.layers import (
    GELU,
    Affine,
    BatchNorm,
    Conv,
    ConvTranspose,
    Dropout,
    Flatten,
    GroupNorm,
    LayerNorm,
    Pooling,
    ReLU,
    Sequential,
    Upsample,
)
from xpcnn.layers.base import Buffer
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
    with pytest.warns(
        MatchedByOrderWarning, match="0 is net.conv_a, 1 is net.norm, 5 is net.fc_z, 7 is net.fc_b; c"
    ):
        mapping = interop.load(target, renamed(source) | {"net.norm.num_batches_tracked": np.int64([3])})
    assert mapping == {
        "0.weight": "net.conv_a.weight", "0.bias": "net.conv_a.bias",
        "1.weight": "net.norm.weight", "1.bias": "net.norm.bias",
        "1.running_mean": "net.norm.running_mean", "1.running_variance": "net.norm.running_var",
        "5.weight": "net.fc_z.weight", "5.bias": "net.fc_z.bias",
        "7.weight": "net.fc_b.weight", "7.bias": "net.fc_b.bias",
    }  # fmt: skip
    for (name, one), (_, two) in zip(source.named_parameters(), target.named_parameters(), strict=True):
        assert np.array_equal(to_host(one.data), to_host(two.data)), name
    assert np.array_equal(to_host(target[1].running_mean.data), [2, 2])


def twins(first, second):
    """Two equal layers under names of somebody's own, in the order of the class, which is not that of forward()."""
    model = Sequential(Affine(4, 4, rng=0), ReLU(), Affine(4, 4, rng=1), ReLU(), Affine(4, 2, rng=2))
    state = {}
    for name, layer in ((first, model[0]), (second, model[2]), ("last", model[4])):
        state |= {f"{name}.weight": to_host(layer.weight.data), f"{name}.bias": to_host(layer.bias.data)}
    return model, state


def test_two_equal_layers_are_named_where_only_the_order_tells_them_apart(backend):
    model, state = twins("fc_b", "fc_a")
    with pytest.warns(
        MatchedByOrderWarning,
        match=r"^state dict: its names are not the model's, so its layers were matched in order: 0 is fc_b, 2 is fc_a, "
        r"4 is last; 0 and 2 are of equal shapes, so nothing but the order tells them apart; compare the mapping",
    ) as said:
        mapping = interop.load(model, state)
    assert [warning.filename for warning in said] == [__file__]
    assert mapping["0.weight"] == "fc_b.weight"
    assert mapping["2.bias"] == "fc_a.bias"
    for ours, theirs in mapping.items():
        assert np.array_equal(to_host(dict(model.named_parameters())[ours].data), state[theirs])


def test_a_pytorch_class_whose_forward_calls_its_layers_in_another_order(torch):
    """The warning names the two; its mapping tells which weights went where, and how to put them right."""

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.second, self.first = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

        def forward(self, x):
            return self.second(torch.relu(self.first(x)))

    theirs, ours = Network(), Sequential(Affine(4, 4, rng=0), ReLU(), Affine(4, 4, rng=1))
    x = np.random.default_rng(0).standard_normal((5, 4), np.float32)
    expected = theirs(torch.from_numpy(x)).detach().numpy()
    state = theirs.state_dict()
    with pytest.warns(MatchedByOrderWarning, match="0 is second, 2 is first; 0 and 2 are of equal shapes"):
        mapping = interop.load(ours, state)
    assert np.abs(ours(x) - expected).max() > 1e-2
    assert mapping["0.weight"] == "second.weight"
    right = {"0": "first", "2": "second"}
    named = {
        f"{place}.{kind}": state[f"{name}.{kind}"]
        for place, name in right.items()
        for kind in ("weight", "bias")
    }
    interop.load(ours, named)
    np.testing.assert_allclose(ours(x), expected, rtol=1e-5, atol=1e-6)


def test_a_long_network_s_warning_is_one_short_sentence():
    model = Sequential(*(Affine(2, 2, rng=number) for number in range(40)))
    state = {f"layer_{name}": to_host(value.data) for name, value in model.named_parameters()}
    with pytest.warns(MatchedByOrderWarning, match="6 is layer_6|5 is layer_5 and 34 more") as said:
        assert len(interop.load(model, state)) == 80
    assert len(str(said[0].message)) < 700


@every_fixture
def test_names_that_agree_are_no_matter_of_order(name):
    arrays, state = stored(name)
    model = build(name, arrays["images"].shape[1:])
    mapping = interop.load(model, dict(reversed(state.items())))  # a warning would be an error
    assert mapping == {ours: interop.torch_name(ours) for ours in mapping}
    parameters = dict(model.named_parameters())
    for ours, theirs in mapping.items():
        if ours in parameters:
            assert np.array_equal(to_host(parameters[ours].data), state[theirs])


def test_our_own_names_are_no_matter_of_order(tmp_path):
    """As save_weights writes them; a network of torch_network has them too."""
    source, target = (models.resnet18(10, seed, width=1 / 32) for seed in (0, 1))
    save_weights(source, tmp_path / "own.safetensors")
    mapping = interop.load(target, tmp_path / "own.safetensors")
    assert all(ours == theirs for ours, theirs in mapping.items())
    for one, two in zip(source.parameters(), target.parameters(), strict=True):
        assert np.array_equal(to_host(one.data), to_host(two.data))


def test_two_arrays_of_one_name_in_pytorch_are_refused():
    model = Sequential(Affine(2, 2, rng=0), Affine(2, 2, rng=1))
    model[0].running_mean, model[0].running_var = Buffer(np.zeros(2)), Buffer(np.zeros(2))
    model[0].running_variance = Buffer(np.zeros(2))
    with pytest.raises(
        CheckpointError, match=r"two of its arrays would be 0\.running_var in PyTorch; rename a"
    ):
        interop.save(model, "nowhere.safetensors")


# ---------------------------------------------------------------- the sister network


def weights_of(name, classes=7):
    model = models.BY_NAME[name](classes, 0, width=1 / 64)
    return {
        interop.torch_name(name): to_host(value.data)
        for name, value in [*model.named_parameters(), *model.named_buffers()]
        if not name.endswith("counter")
    }


@pytest.mark.parametrize(
    ("wanted", "given", "said"),
    [
        ("alexnet", "alexnet_torchvision", "these are the names of models.alexnet_torchvision(num_classes=7)"),
        ("googlenet", "googlenet_torchvision", "these are the names of models.googlenet_torchvision(num_classes=7)"),
        ("vgg16", "vgg16_bn", "these are the names of models.vgg16_bn(num_classes=7)"),
        ("resnet18", "resnet50", "these are the names of models.resnet50(num_classes=7)"),
        ("alexnet", "alexnet_one_stream",
         "these are the names of models.alexnet(num_classes=7) and models.alexnet_one_stream(num_classes=7)"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_sister_network(wanted, given, said):
    model = models.BY_NAME[wanted](7, 0, width=1 / 64)
    before = _state(model)
    with pytest.raises(CheckpointError) as caught:
        interop.load(model, weights_of(given))
    assert str(caught.value).endswith(f"; {said}")
    assert all(np.array_equal(before[name], array) for name, array in _state(model).items())


def test_torchvision_s_heads_do_not_hide_the_sister():
    state = weights_of("googlenet_torchvision") | {
        "aux1.conv.conv.weight": np.zeros(3),
        "aux2.fc2.bias": np.zeros(7),
    }
    with pytest.raises(CheckpointError, match=r"models\.googlenet_torchvision\(num_classes=7\)$"):
        interop.load(models.googlenet(7, 0, width=1 / 64), state)


def test_a_network_of_another_width_or_of_nobody_s_has_no_sister():
    with pytest.raises(CheckpointError, match=r"as many classes$"):
        interop.load(models.vgg11(7, 0, width=1 / 64), weights_of("vgg11", classes=9))
    with pytest.raises(CheckpointError, match=r"as many classes$"):
        interop.load(small(), {"some.weight": np.zeros(3)})


def test_layers_that_somebody_calls_aux1_are_layers():
    source, target = small(), small()
    source[1].running_mean.data += 2
    with pytest.warns(MatchedByOrderWarning):
        interop.load(
            target, {name.replace("net.", "aux1."): array for name, array in renamed(source).items()}
        )
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


def test_pth_files_with_pytorch(torch, tmp_path):
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


# ---- the layers with weights beside convolution and batch normalisation


def generator(named):
    """Transposed convolutions and normalisations of each sample; named as a class of PyTorch's would, or by number."""
    layers = {
        "project": Conv(3, 6, 3, padding=1, rng=0), "norm": GroupNorm(3, 6),
        "up": ConvTranspose(6, 4, 3, 2, 1, 1, groups=2, rng=1), "gelu": GELU(), "grow": Upsample(2),
        "rows": LayerNorm(16), "images": LayerNorm((4, 16, 16)), "last": ConvTranspose(4, 2, 2, bias=False, rng=2),
    }  # fmt: skip
    return Sequential(**layers) if named else Sequential(*layers.values())


@pytest.fixture
def twin(torch):
    nn = torch.nn
    torch.manual_seed(0)
    modules = {
        "project": nn.Conv2d(3, 6, 3, padding=1), "norm": nn.GroupNorm(3, 6),
        "up": nn.ConvTranspose2d(6, 4, 3, 2, 1, 1, groups=2), "gelu": nn.GELU(), "grow": nn.Upsample(scale_factor=2),
        "rows": nn.LayerNorm(16), "images": nn.LayerNorm((4, 16, 16)), "last": nn.ConvTranspose2d(4, 2, 2, bias=False),
    }  # fmt: skip
    network = nn.Sequential(OrderedDict(modules))
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    return network


@pytest.mark.parametrize("named", [True, False], ids=["by name", "by order"])
def test_weights_of_transposed_convolutions_and_norms(named, backend, torch, twin, tmp_path):
    model, x = generator(named), np.random.default_rng(0).standard_normal((2, 3, 4, 4), np.float32)
    if named:
        interop.load(model, twin.state_dict())
    else:
        with pytest.warns(MatchedByOrderWarning, match="matched in order: 0 is project, 1 is norm, 2 is up"):
            interop.load(model, twin.state_dict())
    with torch.no_grad():
        expected = twin(torch.from_numpy(x)).numpy()
    y = to_host(model(to_device(x)))
    assert np.abs(y - expected).max() < 1e-4 * np.abs(expected).max()
    for suffix in (".safetensors", ".pth"):
        interop.save(model, tmp_path / f"weights{suffix}")
    saved = torch.load(tmp_path / "weights.pth", weights_only=True)
    assert next(iter(saved.values())).shape == twin.state_dict()["project.weight"].shape
    if named:
        assert saved.keys() == twin.state_dict().keys()
        other = generator(named)
        interop.load(other, tmp_path / "weights.safetensors")
        assert all(
            np.array_equal(to_host(one.data), to_host(two.data))
            for one, two in zip(model.parameters(), other.parameters(), strict=True)
        )


def test_norms_without_weights_or_of_other_axes_are_refused(torch, twin):
    state = twin.state_dict()
    without = {name: array for name, array in state.items() if not name.startswith("rows")}
    with pytest.raises(CheckpointError, match=r"rows\.weight is missing; rows\.bias is missing"):
        interop.load(generator(True), without)
    with pytest.raises(CheckpointError, match=r"up\.weight is \(4, 3, 3, 3\), the model's \(6, 2, 3, 3\)"):
        interop.load(generator(True), state | {"up.weight": torch.zeros(4, 3, 3, 3)})
    with pytest.raises(CheckpointError, match=r"norm\.running_mean is unexpected"):
        interop.load(generator(True), state | {"norm.running_mean": torch.zeros(6)})
