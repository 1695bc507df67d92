"""Convolution and pooling with attributes at random, in old and new operator sets: equal to onnxruntime, or refused."""

from collections import Counter

import numpy as np
import pytest
from onnx_graphs import assert_close, by_onnxruntime, images_for, model, save, session

from xpcnn.errors import CheckpointError
from xpcnn.interop import onnx as interop

pytest.importorskip("onnx")


def drawn(rng):
    """A graph of one Conv, MaxPool or AveragePool; not every one is valid."""

    def pair(low, high):
        return rng.integers(low, high, 2).tolist()

    operator, opset = (
        str(rng.choice(["Conv", "MaxPool", "AveragePool"])),
        int(rng.choice([7, 10, 11, 13, 18, 19, 22])),
    )
    channels, kernel, constants, inputs = 2 * int(rng.integers(1, 3)), pair(1, 4), {}, ["images"]
    auto = str(rng.choice(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    attributes = {"auto_pad": auto, "strides": pair(1, 4)}
    if auto == "NOTSET":
        attributes["pads"] = rng.integers(-1 if rng.random() < 0.1 else 0, 3, 4).tolist()
    if opset >= {"Conv": 7, "MaxPool": 10, "AveragePool": 19}[operator] and rng.random() < 0.3:
        attributes["dilations"] = pair(1, 3)
    if operator == "Conv":
        groups = int(rng.integers(1, 3))
        constants["w"] = rng.standard_normal((4, channels // groups, *kernel)).astype(np.float32)
        attributes["group"], inputs = groups, ["images", "w"]
    else:
        attributes["kernel_shape"] = kernel
        if opset >= 10:
            attributes["ceil_mode"] = int(rng.integers(2))
        if operator == "AveragePool":
            attributes["count_include_pad"] = int(rng.integers(2))
    shape = (channels, *pair(1, 9))
    return model([(operator, inputs, "scores", attributes)], constants, shape=shape, opset=opset)


@pytest.mark.parametrize("seed", range(4))
def test_equal_or_refused(seed, tmp_path):
    rng, seen, file = np.random.default_rng(seed), Counter(), tmp_path / "graph.onnx"
    while seen.total() < 100:
        try:
            session(save(drawn(rng), file))
        except Exception:  # an invalid graph
            continue
        try:
            layers = interop.load(file)
        except CheckpointError:
            seen["refused"] += 1
            continue
        images = images_for(file)
        try:
            expected = by_onnxruntime(file, images)
        except Exception:  # what onnxruntime refuses as it runs
            seen["refused by onnxruntime"] += 1
            continue
        assert_close(layers(images), expected, 3e-6)
        seen["equal"] += 1
    assert seen["equal"] >= 50
