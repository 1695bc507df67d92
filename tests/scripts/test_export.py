"""scripts/export.py: what it writes is read by onnxruntime and by a state dict's names; its errors are one sentence."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from xpcnn import models
from xpcnn.checkpoint import save_weights

pytest.importorskip("onnx")
SCRIPT = Path(__file__).parents[2] / "scripts" / "export.py"


@pytest.fixture
def export(tmp_path):
    def run(*arguments):
        command = [sys.executable, SCRIPT, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    return run


def save(tmp_path, metadata, model="lenet5", **options):
    network = models.BY_NAME[model](10, 0, **options).eval()
    save_weights(network, tmp_path / "weights.safetensors", metadata)
    return network


def test_both_formats(export, tmp_path, onnxruntime):
    model = save(tmp_path, {"model": "lenet5", "dataset": "mnist"})
    run = export("weights.safetensors", "--onnx", "lenet5.onnx", "--torch", "torch.safetensors")
    assert (run.returncode, run.stderr) == (0, "")
    assert (
        run.stdout
        == "lenet5 for images of 1 x 28 x 28 in lenet5.onnx\nlenet5's state dict in torch.safetensors\n"
    )
    images = np.random.default_rng(0).random((3, 1, 28, 28), np.float32)
    session = onnxruntime.InferenceSession(str(tmp_path / "lenet5.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"images": images})[0], model(images), rtol=1e-4, atol=1e-6)
    assert load_file(tmp_path / "torch.safetensors").keys() == dict(model.named_parameters()).keys()


def test_what_the_file_does_not_say_may_be_said(export, tmp_path):
    save(tmp_path, {}, "resnet20", input_shape=(3, 32, 32))
    arguments = ("weights.safetensors", "--torch", "torch.safetensors", "--model", "resnet20")
    run = export(*arguments)
    assert (run.returncode, run.stderr) == (
        1,
        "export.py: weights.safetensors: names no data set; pass --classes and --input-shape\n",
    )
    assert export(*arguments, "--classes", 10, "--input-shape", 3, 32, 32).returncode == 0
    assert "layer2.0.bn1.running_var" in load_file(tmp_path / "torch.safetensors")


def test_errors(export, tmp_path):
    save(tmp_path, {"model": "lenet6", "dataset": "mnist"})
    assert (
        "names no network; pass --model with one of: simple"
        in export("weights.safetensors", "--onnx", "a").stderr
    )
    run = export("weights.safetensors")
    assert run.returncode == 2
    assert "nothing to write; pass --onnx FILE, --torch FILE or both" in run.stderr
