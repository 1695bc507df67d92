import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import xpcnn
from xpcnn import models
from xpcnn.backend import to_device, to_host
from xpcnn.checkpoint import load_weights, read_weights, save_weights
from xpcnn.errors import CheckpointError, UnsealedWarning
from xpcnn.layers import Affine, BatchNorm, Conv, Dropout, Flatten, ReLU, Residual, Sequential
from xpcnn.optimizers import Adam

pytestmark = pytest.mark.usefixtures("backend")


def small(rng, classes=3):
    rng = np.random.default_rng(rng)
    return Sequential(
        Conv(1, 2, 3, padding=1, rng=rng), BatchNorm(2), ReLU(), Residual(Conv(2, 2, 1, bias=False, rng=rng)),
        Flatten(), Dropout(0.5, rng=rng), Affine(32, classes, rng=rng),
    )  # fmt: skip


NAMES = [
    "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_variance", "3.body.weight",
    "6.weight", "6.bias",
]  # fmt: skip


def trained(rng):
    """A model whose running statistics are no longer 0 and 1, its batch and gradients included."""
    model = small(rng)
    x = to_device(np.random.default_rng(9).standard_normal((6, 1, 4, 4), np.float32))
    model.backward(model(x))
    Adam(model.parameters(), 0.1).step()
    return model, x


def state(model):
    return {
        name: to_host(value.data).copy()
        for named in (model.named_parameters, model.named_buffers)
        for name, value in named()
    }


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
        assert array.dtype == second[name].dtype


@pytest.fixture
def file(tmp_path):
    return tmp_path / "weights.safetensors"


# ---------------------------------------------------------------- there and back


def test_what_is_saved_is_loaded_buffers_included(file):
    model, x = trained(0)
    save_weights(model, file)
    other = small(1)
    load_weights(other, file)
    for name, array in state(model).items():
        if name != "5.counter":  # of dropout: chance, no knowledge
            np.testing.assert_array_equal(array, state(other)[name], err_msg=name)
    np.testing.assert_array_equal(to_host(model.eval()(x)), to_host(other.eval()(x)))


def test_the_file_holds_dotted_names_and_can_be_read_without_xpcnn(file):
    model, _ = trained(0)
    save_weights(model, str(file))
    arrays = load_file(file)
    assert sorted(arrays) == sorted(NAMES)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, state(model)[name])
        assert array.dtype == np.float32


def test_metadata_and_the_version_are_kept(file):
    save_weights(small(0), file, {"model": "small", "작자": '누구 "나"'})
    arrays, metadata = read_weights(file)
    assert metadata == {"xpcnn": xpcnn.__version__, "model": "small", "작자": '누구 "나"'}
    assert sorted(arrays) == sorted(NAMES)


def test_equal_weights_make_equal_files_in_any_process(tmp_path):
    """Whatever the order of a hash table there."""
    code = (
        "import sys; from xpcnn.checkpoint import save_weights; from xpcnn.layers import Affine;"
        "save_weights(Affine(3, 2, rng=0), sys.argv[1], {str(n): str(n) for n in range(20)})"
    )
    folder = os.path.dirname(os.path.dirname(xpcnn.__file__))
    for number in "12":
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONHASHSEED": number}
        subprocess.run([sys.executable, "-c", code, tmp_path / number], env=environment, check=True)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_arrays_begin_where_memory_mapping_likes_them(file):
    save_weights(small(0), file, {"note": "x" * 13})
    assert int.from_bytes(file.read_bytes()[:8], "little") % 8 == 0


def test_files_of_other_writers_are_read(file):
    model, _ = trained(0)
    save_file({name: array for name, array in state(model).items() if name != "5.counter"}, file)
    other = small(1)
    with pytest.warns(UnsealedWarning, match="has no seal, so damage") as said:
        load_weights(other, file)
    assert [warning.filename for warning in said] == [__file__]
    np.testing.assert_array_equal(to_host(other[0].weight.data), to_host(model[0].weight.data))
    with pytest.warns(UnsealedWarning, match=f"^{re.escape(str(file))}: has no seal") as said:
        assert read_weights(file)[1] == {}
    assert [warning.filename for warning in said] == [__file__]


def test_a_float64_model_keeps_its_precision(file):
    model = trained(0)[0].astype("float64")
    model[0].weight.data[...] = to_device(np.random.default_rng(5).standard_normal((2, 1, 3, 3)))
    save_weights(model, file)
    other = small(1).astype("float64")
    load_weights(other, file)
    np.testing.assert_array_equal(to_host(other[0].weight.data), to_host(model[0].weight.data))
    assert other[0].weight.data.dtype == np.float64
    single = small(1)
    load_weights(single, file)  # converted: the model's dtype is the caller's choice
    assert single[0].weight.data.dtype == np.float32
    np.testing.assert_array_equal(
        to_host(single[0].weight.data), to_host(model[0].weight.data).astype(np.float32)
    )


def test_weights_in_nhwc_order_are_saved_as_they_are(file):
    model = Conv(3, 4, (2, 5), data_format="NHWC", rng=0)
    model.weight.data = model.weight.data.transpose(0, 1, 3, 2)[..., ::-1].transpose(0, 1, 3, 2)  # strided
    save_weights(model, file)
    np.testing.assert_array_equal(load_file(file)["weight"], to_host(model.weight.data))


def test_a_folder_that_is_missing_is_made(tmp_path):
    save_weights(small(0), tmp_path / "runs" / "1" / "weights.safetensors")
    load_weights(small(1), tmp_path / "runs" / "1" / "weights.safetensors")


def test_loading_writes_into_the_arrays_that_an_optimizer_holds(file):
    model, x = trained(0)
    save_weights(model, file)
    other = small(1)
    optimizer = Adam(other.parameters(), 0.1)
    flat, views = optimizer.data, [parameter.data for parameter in other.parameters()]
    load_weights(other, file)
    assert all(parameter.data is view for parameter, view in zip(other.parameters(), views, strict=True))
    expected = np.concatenate([to_host(parameter.data).ravel() for parameter in model.parameters()])
    np.testing.assert_array_equal(to_host(optimizer._flat.packed(flat)), expected)
    other.backward(other(x))
    optimizer.step()
    assert optimizer.data is flat
    assert (to_host(other[0].weight.data) != to_host(model[0].weight.data)).any()


# ---------------------------------------------------------------- what cannot be loaded


def assert_refused(file, *words, model=None):
    """CheckpointError with the file's name, and the model as it was."""
    model = model or trained(1)[0]
    before = state(model)
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    for word in words:
        assert word in message
    assert_same(before, state(model))


def test_another_number_of_classes(file):
    save_weights(small(0), file)
    assert_refused(
        file,
        "6.bias is float32 (3,), the model's float32 (5,)",
        "(5, ",
        "build the model",
        model=small(1, classes=5),
    )


def test_another_model_s_first_differences_are_named_and_the_rest_counted(file):
    save_weights(models.simple(rng=0), file)
    assert_refused(file, "is missing", "and 8 more", "build the model that was saved", "Sequential of")


def test_a_layer_more_and_a_layer_less(file):
    short, long = Sequential(Affine(2, 2), ReLU()), Sequential(Affine(2, 2), ReLU(), Affine(2, 2))
    save_weights(long, file)
    assert_refused(file, "2.weight is not in the model", "2.bias is not in the model", model=short)
    save_weights(short, file)
    assert_refused(file, "2.weight is missing", "2.bias is missing", model=long)


@pytest.mark.filterwarnings("ignore::xpcnn.errors.UnsealedWarning")
def test_integers_are_not_weights(file):
    save_file({"weight": np.zeros((2, 3), np.int32), "bias": np.zeros(2, np.float32)}, file)
    assert_refused(file, "weight is int32", model=Affine(3, 2))


@pytest.mark.filterwarnings("ignore::xpcnn.errors.UnsealedWarning")
def test_half_precision_of_another_library(file):
    """bfloat16, which NumPy does not have, is the upper half of a float32."""
    values = np.array([1.0, -2.5, np.inf, 3.140625], np.float32)
    assert not (values.view(np.uint32) & 0xFFFF).any()
    header = json.dumps({"weight": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    numbers = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    file.write_bytes(len(header).to_bytes(8, "little") + header + numbers)
    arrays, _ = read_weights(file)
    assert arrays["weight"].dtype == np.float32
    np.testing.assert_array_equal(arrays["weight"], values.reshape(2, 2))


@pytest.mark.filterwarnings("ignore::xpcnn.errors.UnsealedWarning")
def test_a_dtype_that_numpy_has_not_is_named(file):
    header = json.dumps({"weight": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
    assert_refused(file, "F8_E4M3 has no counterpart in NumPy")


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, -1, -1000])
def test_a_truncated_file(file, keep):
    save_weights(small(0), file)
    file.write_bytes(file.read_bytes()[:keep])
    assert_refused(file, "expected a safetensors file", "damaged")


@pytest.mark.parametrize(
    "content",
    [b"garbage " * 100, b"\xff" * 64, b"\x80\x04pickle", bytes(1000), b"\x02" + bytes(7) + b"{}"[:1]],
)
def test_what_is_no_safetensors_file(file, content):
    file.write_bytes(content)
    assert_refused(file, "expected a safetensors file")


@pytest.mark.filterwarnings("ignore::xpcnn.errors.UnsealedWarning")
def test_a_file_without_arrays(file):
    save_file({}, file)
    assert_refused(file, "0.bias is missing", "and 6 more")


@settings(max_examples=50)
@given(data=st.data())
def test_flipped_bytes_of_a_network_are_refused(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("flipped") / "weights.safetensors"
    save_weights(small(0), file)
    content = bytearray(file.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    where = data.draw(st.integers(0, header - 1) | st.integers(0, len(content) - 1))
    content[where] ^= data.draw(st.integers(1, 255))
    file.write_bytes(bytes(content))
    assert_refused(file)


def test_a_broken_seal_is_named(file):
    save_weights(small(0), file)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    assert_refused(file, "its seal is broken", "so it is damaged; copy it again, or train again")


@pytest.mark.parametrize("entry", ["checksum", "sealed"])
def test_half_a_seal_is_a_broken_one(file, entry):
    """Nobody can make a damaged file pass for one that was never sealed by losing one entry."""
    save_weights(small(0), file)
    content = file.read_bytes()
    file.write_bytes(content.replace(f'"{entry}"'.encode(), b'"' + b"x" * len(entry) + b'"'))
    assert_refused(file, "its seal is broken")


@pytest.mark.parametrize("entry", ["checksum", "sealed"])
def test_the_seal_s_own_entries_are_not_for_others(file, entry):
    with pytest.raises(CheckpointError, match=f"'{entry}' is the seal's own entry; choose another name"):
        save_weights(small(0), file, {entry: "mine"})
    assert not file.exists()


def test_what_is_read_may_be_written_to(file):
    save_weights(small(0), file)
    arrays, _ = read_weights(file)
    arrays["0.bias"][...] = 1
    assert load_file(file)["0.bias"].tolist() != arrays["0.bias"].tolist()


def test_a_file_that_is_missing_and_a_folder(tmp_path):
    assert_refused(tmp_path / "absent.safetensors", "no such file", "xpcnn train")
    assert_refused(tmp_path, "this is a folder", "xpcnn train")


@pytest.mark.skipif(
    os.name != "posix" or getattr(os, "geteuid", lambda: 0)() == 0, reason="root may read everything"
)
def test_a_file_that_may_not_be_read(file):
    save_weights(small(0), file)
    file.chmod(0)
    assert_refused(file, "reading it failed")


# ---------------------------------------------------------------- writing that fails


@pytest.mark.parametrize("function", ["os.replace", "os.fsync"])
def test_a_write_that_fails_leaves_the_former_file_and_nothing_beside_it(file, monkeypatch, function):
    save_weights(small(0), file)
    former = file.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(function, full)
    with pytest.raises(OSError, match="No space left"):
        save_weights(small(1), file)
    assert file.read_bytes() == former
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_model_that_cannot_be_written_leaves_the_former_file(file):
    save_weights(small(0), file)
    former = file.read_bytes()
    with pytest.raises(TypeError):
        save_weights(small(1), file, {"epoch": 3})  # metadata are strings
    assert file.read_bytes() == former
    assert [path.name for path in file.parent.iterdir()] == [file.name]
