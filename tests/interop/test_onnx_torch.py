"""What PyTorch's two exporters write of small CNNs: within 1e-5 of onnxruntime, or refused with the operator's name."""

import re
from pathlib import Path

import numpy as np
import pytest
from onnx_graphs import assert_close, by_onnxruntime, images_for

from xpcnn.debug.gradients import gradient_check
from xpcnn.errors import CheckpointError
from xpcnn.interop import onnx as interop
from xpcnn.layers import (
    GELU,
    Clip,
    ConvTranspose,
    GlobalMaxPooling,
    GroupNorm,
    LayerNorm,
    LocalResponseNorm,
    Product,
    Residual,
    SiLU,
    Sum,
    Upsample,
)

FOLDER = Path(__file__).parent.parent / "fixtures" / "onnx"
FILES = sorted(file.name for file in FOLDER.glob("*.onnx"))
REFUSED = {  # the operator that is named
    "channels_last_norm": "Transpose",
    "conv1d": "Conv",
    "dense_layer_last": "MatMul",
    "elu": "Elu",
    "gelu_tanh": "Gelu",
    "hardswish": "HardSwish",
    "interpolate_corners": "Resize",
    "interpolate_smaller": "Resize",
    "log_softmax": "LogSoftmax",
    "mish": "(Mish|Softplus)",
    "padding_reflect": "Pad",
    "pixel_shuffle": "DepthToSpace",
    "prelu": "PRelu",
    "shuffle_channels": "Transpose",
}
REFUSED_OF_THE_OLDER = {"alexnet": "Pad"}  # its normalisation hangs on an If


def refused(name, exporter):
    return (REFUSED | (REFUSED_OF_THE_OLDER if exporter == "older" else {})).get(name)


def check(file, name, exporter, images):
    """Load a file and compare, or see that it is refused by name."""
    if operator := refused(name, exporter):
        with pytest.raises(
            CheckpointError, match=rf"{re.escape(str(file))}: the operator {operator} \(.+\) is .*; "
        ):
            interop.load(file)
        return
    model = interop.load(file)
    assert_close(model(images), by_onnxruntime(file, images))
    again = file.parent / "again.onnx"
    interop.export(model, again, images.shape[1:])
    assert_close(by_onnxruntime(again, images), by_onnxruntime(file, images))
    assert len([*interop.load(again).named_layers()]) <= len([*model.named_layers()])


@pytest.mark.parametrize("file", FILES)
def test_files_of_pytorch(file, tmp_path):
    name, exporter, _ = file.split(".")
    copy = tmp_path / file
    copy.write_bytes((FOLDER / file).read_bytes())
    for count in (1, 3):
        check(copy, name, exporter, images_for(copy, count, seed=count))


def test_how_many():
    names = {file.split(".")[0] for file in FILES}
    assert len(FILES) == 2 * len(names)
    said = " ".join((Path(__file__).parents[2] / "docs" / "interop.md").read_text(encoding="utf-8").split())
    counts = re.search(r"write of (\d+) small CNNs .* (\d+) load and .* (\d+) are refused by name", said)
    assert [int(count) for count in counts.groups()] == [
        len(names),
        len(names - REFUSED.keys()),
        len(REFUSED),
    ]
    assert REFUSED.keys() <= names


def layers(name):
    return {type(layer): layer for _, layer in interop.load(FOLDER / f"{name}.dynamo.onnx").named_layers()}


def test_they_are_the_layers_that_were_meant():
    assert repr(layers("relu6")[Clip]) == "Clip()"
    assert repr(layers("alexnet")[LocalResponseNorm]) == "LocalResponseNorm(5)"
    assert Product in layers("se_conv")
    assert Residual in layers("added_twice")
    assert repr(layers("group_norm")[GroupNorm]) == "GroupNorm(2, 4)"
    assert repr(layers("interpolate_bilinear")[Upsample]) == "Upsample((2, 3), mode='bilinear')"
    for name, kind in (
        ("transposed_conv_groups", ConvTranspose), ("layer_norm_images", LayerNorm), ("gelu", GELU), ("swish", SiLU),
        ("global_max", GlobalMaxPooling), ("three_branches", Sum), ("instance_norm", GroupNorm),
    ):  # fmt: skip
        assert kind in layers(name)


@pytest.mark.parametrize(
    "name",
    [
        "se_linear",
        "inverted_residual",
        "dense_block",
        "added_twice",
        "group_norm",
        "unet",
        "efficient",
        "gelu",
    ],
)
def test_they_train(name):
    model = interop.load(FOLDER / f"{name}.dynamo.onnx")
    images = np.random.default_rng(0).standard_normal((2, 3, 6, 6))
    assert max(gradient_check(model, images, samples=10).values()) < 1e-6


# ---- exported anew, where PyTorch is installed


@pytest.fixture(scope="module")
def networks(torch, onnxscript):
    return __import__("torch_networks")


def test_there_is_a_file_of_every_network(networks):
    assert {file.split(".")[0] for file in FILES} == set(networks.NETWORKS)


OLDER_SETS = (
    "gelu",
    "group_norm",
    "instance_norm",
    "interpolate",
    "layer_norm",
    "layer_norm_images",
    "silu",
    "unet",
)


@pytest.mark.filterwarnings("ignore")  # of PyTorch, about its own exporters
@pytest.mark.parametrize(("exporter", "opset"), [("older", 9), ("older", 14), ("dynamo", 18), ("dynamo", 21)])
@pytest.mark.parametrize("name", OLDER_SETS)
def test_exported_anew_in_other_operator_sets(networks, name, exporter, opset, tmp_path):
    """Before they had operators of their own GELU and normalisations were several; Resize was Upsample."""
    file = tmp_path / f"{name}.onnx"
    networks.export(name, file, exporter, opset_version=opset)
    kinds = [type(layer) for layer in interop.load(FOLDER / f"{name}.dynamo.onnx")]
    assert [type(layer) for layer in interop.load(file)] == kinds
    check(file, name, exporter, images_for(file, 3))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of PyTorch, about its own exporters
@pytest.mark.parametrize(("exporter", "batch"), [("dynamo", 1), ("older", 2)])
@pytest.mark.parametrize("name", sorted({file.split(".")[0] for file in FILES}))
def test_exported_anew_for_a_fixed_number_of_images(networks, name, exporter, batch, tmp_path):
    import torch

    file = tmp_path / f"{name}.onnx"
    networks.export(name, file, exporter, batch)
    images = images_for(file)
    assert len(images) == batch
    check(file, name, exporter, images)
    if not refused(name, exporter):
        network, _ = networks.make(name)
        with torch.no_grad():
            assert_close(interop.load(file)(images), network(torch.from_numpy(images)).numpy())
