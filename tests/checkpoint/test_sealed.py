"""A sealed file: no single bit may be wrong without being found, and every other program reads it."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from xpcnn.backend import to_host
from xpcnn.checkpoint import load_weights, save_weights
from xpcnn.checkpoint._sealed import read, seal
from xpcnn.errors import CheckpointError
from xpcnn.interop import torch as interop
from xpcnn.layers import Affine


@pytest.fixture
def file(tmp_path):
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize(("save", "step"), [(save_weights, 1), (interop.save, 13)])
def test_every_flipped_bit_of_a_small_file_is_refused(file, save, step):
    """All of them: in the header's length, in names, in the seal, in the padding, and in the numbers."""
    save(Affine(2, 1, rng=0), file)
    content, victim, loaded = file.read_bytes(), Affine(2, 1, rng=1), []
    before = [to_host(parameter.data).copy() for parameter in victim.parameters()]
    for place in range(0, 8 * len(content), step):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        file.write_bytes(changed)
        try:
            load_weights(victim, file)
            loaded.append(place)
        except CheckpointError as error:
            assert str(error).startswith(f"{file}: ")  # noqa: PT017 - thousands of times
    assert loaded == []
    for parameter, value in zip(victim.parameters(), before, strict=True):
        np.testing.assert_array_equal(to_host(parameter.data), value)


def test_every_other_program_reads_it(file):
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.float32([1]),
        "n": np.int64(3),
        "none": np.zeros((0, 2)),
    }
    file.write_bytes(seal(arrays, {"model": "small"}))
    for name, array in load_file(file).items():
        np.testing.assert_array_equal(array, arrays[name])
    with safe_open(file, framework="numpy") as opened:
        assert opened.metadata().items() >= {"model": "small", "sealed": "sha256"}.items()
    found = read(file)
    assert (found.sealed, found.metadata) == (True, {"model": "small"})
    assert {name: (a.dtype, a.shape) for name, a in found.arrays.items()} == {
        name: (a.dtype, a.shape) for name, a in arrays.items()
    }


@pytest.mark.parametrize("size", ["8", "16", "32", "64"])
def test_every_dtype_of_numpy_comes_back(file, size):
    kinds = [kind + size for kind in ("float", "int", "uint") if kind + size != "float8"] + ["bool"]
    arrays = {kind: np.arange(3).astype(kind) for kind in kinds}
    file.write_bytes(seal(arrays, {}))
    for name, array in read(file).arrays.items():
        assert array.dtype == arrays[name].dtype
        np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize(
    "header",
    [[], 3, "text", None, {"a": 3}, {"a": []}, {"a": {}}, {"a": {"data_offsets": []}}, {"__metadata__": 3},
     {"a": {"data_offsets": [0, "x"]}}, {"a": {"data_offsets": [0, None]}}, {"__metadata__": ["checksum"]},
     {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
     {"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 4]}},
     {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}],
)  # fmt: skip
def test_a_header_of_somebody_s_making_is_one_sentence(file, header):
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(CheckpointError) as caught:
        read(file)
    assert str(caught.value).startswith(f"{file}: expected a safetensors file, but ")
    assert "\n" not in str(caught.value)


def test_a_deep_header_is_one_sentence(file):
    text = b"[" * 100_000
    file.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(CheckpointError, match="its header cannot be read"):
        read(file)
