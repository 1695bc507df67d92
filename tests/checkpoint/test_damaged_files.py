"""Files that others made, damaged and hostile: each reader gives the right thing or one of the package's own errors.

The mutants of a reader's files come from a fixed seed. The book's params.pkl has its own, in interop.
"""

import contextlib
import gzip
import hashlib
import importlib.util
import io
import json
import lzma
import os
import re
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import xpcnn
from xpcnn._disk.files import replacing
from xpcnn.checkpoint import (
    load_checkpoint,
    load_weights,
    read_config,
    read_weights,
    save_checkpoint,
    save_weights,
)
from xpcnn.checkpoint._sealed import seal, unseal
from xpcnn.checkpoint.runs import Record
from xpcnn.commands.command_line import run
from xpcnn.data import cifar, cifar10, fashion_mnist
from xpcnn.data.idx import LARGEST, decompress, parse_idx, read_idx
from xpcnn.errors import CheckpointError, DatasetError
from xpcnn.interop import torch as interop_torch
from xpcnn.layers import Affine, BatchNorm, Conv, Dropout, Flatten, Pooling, ReLU, Sequential
from xpcnn.optimizers import Momentum
from xpcnn.training.state import Position

needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnx") is None, reason="onnx is not installed")


def mutants(content, count, seed=0):
    """Yield the content with a few bytes flipped, changed, lost, doubled or cut off."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        found = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            at, length = int(rng.integers(len(found))), int(rng.integers(1, 33))
            match rng.integers(6):
                case 0:
                    found[at] ^= 1 << rng.integers(8)
                case 1:
                    found[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, *b'0{}[]",-'])
                case 2:
                    del found[at : at + length]
                case 3:
                    found[at:at] = found[at : at + length]
                case 4:
                    found[at : at + 8] = struct.pack("<q", int(rng.choice([-1, 0, 2**31, 2**62])))
                case 5:
                    del found[at:]
            found = found or bytearray(b"\0")
        yield bytes(found)


@contextlib.contextmanager
def little_memory(bytes_):
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < bytes_


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


# ---------------------------------------------------------------- bombs: IDX


ZEROS = bytes(1 << 20)


def bomb(kind, begin, mebibytes):
    """Return `begin` and so many MiB of zeros, packed."""
    packed = io.BytesIO()
    pack = partial(lzma.LZMAFile, preset=0) if kind == "xz" else partial(gzip.GzipFile, None, compresslevel=1)
    with pack(**{"filename" if kind == "xz" else "fileobj": packed}, mode="w") as file:
        file.write(begin)
        for _ in range(mebibytes):
            file.write(ZEROS)
    return packed.getvalue()


@pytest.mark.parametrize("kind", ["xz", "gz"])
def test_a_bomb_is_unpacked_no_further_than_its_header_says(tmp_path, kind):
    array = np.zeros((7, 28, 28), np.uint8)
    (tmp_path / "images").write_bytes(bomb(kind, idx(array), 200))
    with little_memory(20 << 20), pytest.raises(DatasetError, match=r"longer than its header says"):
        read_idx(tmp_path / "images")


@pytest.mark.parametrize("kind", ["xz", "gz"])
@pytest.mark.parametrize("shape", [(5_230_000, 28, 28), (4_100_000_000,), (2**32 - 1,) * 3])
def test_a_header_that_announces_a_bomb_is_enough(tmp_path, kind, shape):
    begin = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
    (tmp_path / "images").write_bytes(bomb(kind, begin, 100))
    with little_memory(20 << 20), pytest.raises(DatasetError, match=r"its header announces"):
        read_idx(tmp_path / "images")


def test_more_labels_than_images_are_not_unpacked(tmp_path):
    images, labels = idx(np.zeros((3, 28, 28), np.uint8)), struct.pack(">BBBBI", 0, 0, 8, 1, 100 << 20)
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(images)
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(bomb("xz", labels, 100))
    with (
        little_memory(20 << 20),
        pytest.raises(DatasetError, match="expected an IDX file of up to 4,120 bytes"),
    ):
        fashion_mnist(tmp_path)


def test_decompress_stops_where_it_is_told():
    packed = bomb("xz", b"", 100)
    with (
        little_memory(20 << 20),
        pytest.raises(DatasetError, match="expected up to 1,000 bytes, and it unpacks to more"),
    ):
        decompress(packed, "bomb.xz", 1000)
    assert LARGEST == 2**30


def test_an_xz_file_that_asks_for_memory_is_refused():
    """The dictionary of 1.5 GB is in the header of the block; nothing else need be there."""
    head = lzma.LZMACompressor(lzma.FORMAT_XZ, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 12}])
    content = bytearray(head.compress(b"x") + head.flush())
    content[16] = 40 - 3  # the byte of the properties: a dictionary of 2^30 * 1.5 bytes
    content[20:24] = struct.pack("<I", zlib.crc32(content[12:20]))
    with little_memory(20 << 20), pytest.raises(DatasetError, match="whole xz file"):
        decompress(bytes(content), "f.xz")


def test_mutants_of_idx_files(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    path = tmp_path / "file"
    for pack in (bytes, gzip.compress, lzma.compress):
        for content in mutants(pack(idx(array)), 400):
            path.write_bytes(content)
            with contextlib.suppress(DatasetError):
                assert read_idx(path).ndim >= 1
            with contextlib.suppress(DatasetError):
                parse_idx(content, "file")


# ---------------------------------------------------------------- CIFAR's archive


def cifar_files(n=2):
    record = bytes([3]) + bytes(3072)
    return dict.fromkeys(cifar.TRAIN + cifar.TEST, record * n)


def archive(files, members=(), kind="w:gz", **options):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=kind, **options) as made:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
        for member, content in members:
            made.addfile(member, content)
    return packed.getvalue()


def linked(name, kind, target):
    member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
    member.type, member.linkname = kind, target
    return member, None


@pytest.fixture
def path(tmp_path):
    return tmp_path / cifar.ARCHIVE


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE]
)
@pytest.mark.parametrize(
    "target", ["nowhere", "test_batch.bin", "../../etc/passwd", "cifar-10-batches-bin/data_batch_1.bin"]
)
def test_a_member_that_is_a_link_is_a_sentence(path, kind, target):
    files = cifar_files()
    del files["test_batch.bin"]
    path.write_bytes(archive(files, [linked("test_batch.bin", kind, target)]))
    with pytest.raises(DatasetError, match=r"test_batch\.bin is not a plain file but a link"):
        cifar10(path.parent)


def test_a_member_that_is_a_bomb_is_not_read(path):
    files = cifar_files() | {"test_batch.bin": bytes(cifar.PART + 1)}
    path.write_bytes(archive(files, compresslevel=1))
    with (
        little_memory(80 << 20),
        pytest.raises(DatasetError, match="has 30,730,001 bytes, more than 10,000 images have"),
    ):
        cifar.read_archive(path)


@pytest.mark.parametrize("name", ["readme.html", "x" * 101])
def test_an_archive_that_is_a_bomb_is_not_read(path, monkeypatch, name):
    monkeypatch.setattr(cifar, "LARGEST", 10 << 20)
    path.write_bytes(archive({name: bytes(60 << 20)} | cifar_files(), compresslevel=1))
    with little_memory(30 << 20), pytest.raises(DatasetError, match="unpacks to more than 10,485,760 bytes"):
        cifar.read_archive(path)


def test_a_header_of_a_name_that_is_a_bomb_is_not_read(path, monkeypatch):
    """A name of 40 MB, as GNU's tar writes long ones: tarfile reads it whole."""
    monkeypatch.setattr(cifar, "LARGEST", 10 << 20)
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 40 << 20
    path.write_bytes(gzip.compress(member.tobuf() + b"x" * (40 << 20), 1))
    with little_memory(60 << 20), pytest.raises(DatasetError, match="unpacks to more than"):
        cifar.read_archive(path)


def test_zeros_behind_the_archive_are_not_read_for_ever(path, monkeypatch):
    monkeypatch.setattr(cifar, "LARGEST", 10 << 20)
    path.write_bytes(archive(cifar_files()) + gzip.compress(bytes(60 << 20), 1))
    with pytest.raises(DatasetError, match="unpacks to more than"):
        cifar.read_archive(path)


def test_mutants_of_an_archive(path):
    plain = archive(cifar_files(1), kind="w")
    head = plain[:1024]  # the headers are what can be told apart
    for content in mutants(head, 400):
        path.write_bytes(gzip.compress(content + plain[1024:], 1))
        with contextlib.suppress(DatasetError):
            assert set(cifar.read_archive(path)) == set(cifar_files())
    for content in mutants(archive(cifar_files(1)), 200):
        path.write_bytes(content)
        with contextlib.suppress(DatasetError):
            cifar.read_archive(path)


def test_an_unpacked_file_that_is_too_long_is_not_read(tmp_path):
    for name, content in cifar_files().items():
        (tmp_path / name).write_bytes(content)
    with open(tmp_path / "test_batch.bin", "wb") as file:
        file.truncate(1 << 40)
    with (
        little_memory(80 << 20),
        pytest.raises(DatasetError, match=r"test_batch\.bin: has more than 30,730,000 bytes"),
    ):
        cifar10(tmp_path)


# ---------------------------------------------------------------- weights and checkpoints


def network(dropout=0.5):
    return Sequential(Conv(1, 2, 3, rng=0), BatchNorm(2), ReLU(), Pooling(2), Flatten(), Dropout(dropout, rng=1),
                      Affine(8, 3, rng=2))  # fmt: skip


def values(model):
    return {name: value.data.copy() for name, value in [*model.named_parameters(), *model.named_buffers()]}


def assert_as_it_was(model, before):
    for name, array in values(model).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_mutants_of_weights(tmp_path):
    model, file = network(), tmp_path / "weights.safetensors"
    save_weights(model, file, {"model": "simple"})
    whole = file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for content in [*mutants(whole, 150), *(part + whole[header:] for part in mutants(whole[:header], 450))]:
        file.write_bytes(content)
        with contextlib.suppress(CheckpointError):
            read_weights(file)
        target = network()
        before = values(target)
        try:
            load_weights(target, file)
        except CheckpointError:
            assert_as_it_was(target, before)


@pytest.mark.parametrize("dtype", ["F8_E5M2", "F8_E4M3", "F8_E8M0", "F4", "none"])
def test_a_dtype_that_numpy_lacks_is_refused(tmp_path, dtype):
    header = {
        "a": {"dtype": dtype, "shape": [4], "data_offsets": [0, 4]},
        "__metadata__": {"checksum": "0" * 64},
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    file = tmp_path / "weights.safetensors"
    blank = len(text).to_bytes(8, "little") + text + bytes(4)
    file.write_bytes(blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode()))
    for act in (read_weights, unseal):
        with pytest.raises(CheckpointError):
            act(file)


@pytest.fixture
def sealed(tmp_path):
    """A checkpoint's file, and its arrays and metadata."""
    model, file = network(), tmp_path / "checkpoint.safetensors"
    position = Position(0)
    position.shuffle(10, 4)
    save_checkpoint(file, model, Momentum(model.parameters(), 0.1), position, {"model": "simple"})
    return file, *unseal(file)


def refused(file):
    """Neither function lets anything but its own error out, nor changes the model."""
    model = network()
    optimizer, before = Momentum(model.parameters(), 0.1), values(model)
    for act in (read_config, lambda file: load_checkpoint(file, model, optimizer)):
        try:
            act(file)
            said = ""
        except CheckpointError as error:
            said = str(error)
        if said:
            assert "\n" not in said
            assert_as_it_was(model, before)
            assert (optimizer.steps, optimizer.lr) == (0, 0.1)
    return said


def test_mutants_of_a_checkpoint(sealed):
    file, _, _ = sealed
    for content in mutants(file.read_bytes(), 100):
        file.write_bytes(content)
        refused(file)


def test_mutants_of_what_a_checkpoint_says(sealed):
    """Sealed anew, so that nothing but its words is odd."""
    file, arrays, metadata = sealed
    for name in ("config", "extra", "layers", "optimizer", "position", "kind", "xpcnn"):
        for text in mutants(metadata[name].encode(), 40):
            file.write_bytes(seal(arrays, metadata | {name: text.decode("latin-1")}))
            refused(file)
        lacking = dict(metadata)
        del lacking[name]
        file.write_bytes(seal(arrays, lacking))
        assert refused(file) or name == "layers"  # as in files of version 0.1


def changed(text, *path, value):
    whole = json.loads(text)
    at = whole
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return json.dumps(whole)


@pytest.mark.parametrize("value", [None, -1, 1.5, "1", [], {}, True, 2**70])
@pytest.mark.parametrize(
    ("part", "path"),
    [
        ("optimizer", ("steps",)),
        ("optimizer", ("lr",)),
        ("position", ("epoch",)),
        ("position", ("step",)),
        ("position", ("images",)),
        ("position", ("generator",)),
        ("position", ("generator", "state")),
        ("position", ("generator", "state", "inc")),
        ("position", ("generator", "bit_generator")),
        ("position", ("start",)),
        ("extra", ("5", "key")),
    ],
)
def test_an_odd_number_in_a_checkpoint_is_refused(sealed, part, path, value):
    file, arrays, metadata = sealed
    file.write_bytes(seal(arrays, metadata | {part: changed(metadata[part], *path, value=value)}))
    said = refused(file)
    allowed = {
        ("epoch", 2**70),
        ("images", 2**70),
        ("steps", 2**70),
        ("start", None),
        ("inc", 2**70),
        ("inc", True),
        ("key", 2**70),
    }
    sane = path[-1] == "lr" and type(value) in (int, float)
    assert said or (path[-1], value) in allowed or sane or (path[-1], value) == ("key", -1)


@pytest.mark.parametrize("losses", [None, np.zeros(0, np.int64), np.zeros((2, 2), np.float32)])
def test_odd_losses_are_refused(sealed, losses):
    file, arrays, metadata = sealed
    arrays = {name: array for name, array in arrays.items() if name != "losses"}
    file.write_bytes(seal(arrays | ({} if losses is None else {"losses": losses}), metadata))
    assert "its position cannot be read" in refused(file)


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "null", "[]", '"x"', "", "{"])
def test_json_of_another_kind_is_refused(sealed, text):
    file, arrays, metadata = sealed
    for name in ("config", "extra", "layers", "optimizer", "position"):
        file.write_bytes(seal(arrays, metadata | {name: text}))
        if name == "config":
            with pytest.raises(CheckpointError):
                read_config(file)
        else:
            assert refused(file)


def test_a_header_of_a_hundred_megabytes_is_not_parsed(tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    text = b'{"__metadata__":{"a":"' + b"[" * (40 << 20) + b'"}}'
    file.write_bytes(len(text).to_bytes(8, "little") + text)
    with little_memory(90 << 20), pytest.raises(CheckpointError, match="its header cannot be read"):
        unseal(file)


# ---------------------------------------------------------------- metrics


def resumed():
    position = Position(0)
    position.epoch = 3
    return position


LINES = b"".join(b'{"epoch": %d, "train_loss": 0.5}\n' % epoch for epoch in (1, 2, 3))


def test_mutants_of_metrics(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    for content in mutants(LINES, 400):
        metrics.write_bytes(content)
        try:
            record = Record({"model": "simple", "dataset": "mnist"}, metrics=metrics, resumed=resumed())
            record.add({"epoch": 9}, network(), 1)
            said = ""
        except CheckpointError as error:
            said = str(error)
        if said:
            assert "\n" not in said
            assert metrics.read_bytes() == content  # nothing is lost


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"1",
        b"null",
        b"{}",
        b'{"epoch": "1"}',
        b'{"epoch": true}',
        b"[" * 10_000,
        b"\xff",
        b"9" * 5000,
        b"",
    ],
)
def test_a_line_that_is_none_is_named(tmp_path, line):
    (tmp_path / "m.jsonl").write_bytes(LINES + line + b"\n")
    with pytest.raises(
        CheckpointError, match=r"m\.jsonl: line 4 is no line of metrics, .*remove what is damaged"
    ):
        Record({"model": "simple", "dataset": "mnist"}, metrics=tmp_path / "m.jsonl", resumed=resumed())


def test_metrics_without_end_are_not_read(tmp_path):
    with open(tmp_path / "m.jsonl", "wb") as file:
        file.truncate(1 << 40)
    with little_memory(150 << 20), pytest.raises(CheckpointError, match="more than 67,108,864 bytes"):
        Record({"model": "simple", "dataset": "mnist"}, metrics=tmp_path / "m.jsonl", resumed=resumed())


# ---------------------------------------------------------------- other programs' files


@needs_onnx
def test_mutants_of_onnx(tmp_path):
    from xpcnn.interop import onnx

    file = tmp_path / "model.onnx"
    onnx.export(network(0.25), file, (1, 6, 6))
    whole = file.read_bytes()
    for content in mutants(whole, 400):
        file.write_bytes(content)
        with contextlib.suppress(CheckpointError):
            onnx.load(file)


def odd_graph(proto, rng):
    """Change one thing that onnx's checker may let pass: an attribute, a shape, a dtype, bytes, an input, a name."""
    graph = proto.graph
    node, weights = rng.choice(len(graph.node)), rng.choice(len(graph.initializer))
    node, weights = graph.node[node], graph.initializer[weights]
    odd = int(rng.choice([-1, 0, 2, 3, 2**31, 2**62]))
    match rng.integers(9):
        case 0 if node.attribute:
            attribute = node.attribute[rng.integers(len(node.attribute))]
            attribute.i = odd
            if attribute.ints:
                attribute.ints[rng.integers(len(attribute.ints))] = odd
        case 1 if node.attribute and node.attribute[0].ints:
            del node.attribute[0].ints[0]
        case 2 if weights.dims:
            weights.dims[rng.integers(len(weights.dims))] = odd
        case 3:
            weights.data_type = int(rng.integers(0, 24))
        case 4:
            weights.raw_data = weights.raw_data[: int(rng.integers(len(weights.raw_data) + 1))]
        case 5 if node.input:
            node.input[rng.integers(len(node.input))] = str(
                rng.choice(["", "no", graph.input[0].name, weights.name])
            )
        case 6:
            node.op_type = graph.node[rng.integers(len(graph.node))].op_type
        case 7:
            del node.input[1:]
        case 8:
            weights.dims[:] = [int(d) for d in rng.permutation(list(weights.dims))][: rng.integers(3)]


@needs_onnx
def test_odd_graphs_of_onnx(tmp_path):
    import onnx as format

    from xpcnn.interop import onnx

    onnx.export(network(0.25), tmp_path / "whole.onnx", (1, 6, 6))
    rng, loaded = np.random.default_rng(0), 0
    for _ in range(500):
        proto = format.load(str(tmp_path / "whole.onnx"))
        for _ in range(rng.integers(1, 3)):
            odd_graph(proto, rng)
        (tmp_path / "odd.onnx").write_bytes(proto.SerializeToString())
        with contextlib.suppress(CheckpointError):
            onnx.load(tmp_path / "odd.onnx")
            loaded += 1
    assert loaded < 250


@needs_onnx
def test_an_onnx_file_of_terabytes_is_not_read(tmp_path):
    from xpcnn.interop import onnx

    with open(tmp_path / "model.onnx", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CheckpointError, match="an ONNX file has up to 2,147,483,648"):
        onnx.load(tmp_path / "model.onnx")


def test_mutants_of_pth(torch, tmp_path):
    file, state = tmp_path / "weights.pth", {"0.weight": torch.ones(3, 2), "0.bias": torch.zeros(3)}
    for legacy in (False, True):
        torch.save(state, file, _use_new_zipfile_serialization=not legacy)
        whole = file.read_bytes()
        for content in mutants(whole, 300):
            file.write_bytes(content)
            with contextlib.suppress(CheckpointError):
                interop_torch.load(Sequential(Affine(2, 3, rng=0)), file)


def test_tensors_that_are_no_arrays_are_named(torch):
    model = Sequential(Affine(2, 3, rng=0))
    wide = torch.zeros(1, dtype=torch.bfloat16).expand(1 << 40)
    for odd in (torch.zeros(3, device="meta"), torch.eye(3).to_sparse(), wide):
        with pytest.raises(CheckpointError, match=r"0\.bias cannot be an array"):
            interop_torch.load(model, {"0.weight": torch.zeros(3, 2), "0.bias": odd})
    with pytest.raises(CheckpointError, match="expected names, got 3"):
        interop_torch.load(model, {3: torch.zeros(3)})


def test_a_pth_file_that_is_compressed_is_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr("xpcnn.interop.torch._weights._torch", lambda file: pytest.fail("it was read"))
    monkeypatch.setattr("xpcnn.interop.torch._weights._torch", lambda file: None)
    with zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("archive/data.pkl", ZEROS)
    with pytest.raises(
        CheckpointError, match="unpacks to 1,048,576 bytes, and a file of PyTorch's is not compressed"
    ):
        interop_torch.load(network(), tmp_path / "w.pth")


# ---------------------------------------------------------------- a full disk


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "script.py: No space left on device; make room"),
        (OSError("half a write"), "script.py: half a write; make room"),
        (OSError(), "script.py: OSError; make room"),
        (OSError(28, None), "script.py: No space left on device; make room"),
        (
            OSError(28, "No space left on device", "weights"),
            "script.py: weights: No space left on device; make room",
        ),
    ],
)
def test_an_error_of_the_system_reads_well(monkeypatch, capsys, error, words):
    def main():
        raise error

    monkeypatch.setattr(sys, "argv", ["script.py"])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(SystemExit) as ended:
        run(main)
    assert str(ended.value.code).startswith(words)


PROGRAM = """
import resource, sys
from xpcnn.commands.command_line import run
from xpcnn._disk.files import replacing
def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    with replacing(sys.argv[1]) as file:
        file.write(bytes(5000))
    return 0
run(main)
"""


def ended(program, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(Path(xpcnn.__file__).parents[1])}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=environment, text=True, stderr=subprocess.PIPE, check=False, **options)


@pytest.mark.skipif(os.name != "posix", reason="limits as POSIX has them")
def test_a_file_that_may_grow_no_further_is_named_and_the_former_stays(tmp_path):
    target = tmp_path / "weights"
    target.write_bytes(b"old")
    done = ended(PROGRAM, str(target))
    assert (done.returncode, done.stderr) == (
        1, f"-c: {target}: File too large; make room or give permission there, or name another place\n",
    )  # fmt: skip
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_behind_standard_output_and_behind_a_file():
    with open("/dev/full", "w") as full:
        done = ended(
            "from xpcnn.commands.command_line import run; run(lambda: print('x' * 99999) or 0)", stdout=full
        )
    assert done.returncode == 1
    assert re.fullmatch(r"-c: (standard output: )?No space left on device; make room .*\n", done.stderr)
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"), replacing("/dev/full") as file:
        file.write(bytes(99999))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_metrics_on_a_full_disk_are_named():
    record = Record({"model": "simple", "dataset": "mnist"})
    record.metrics.add(Path("/dev/full"))
    with pytest.raises((OSError, CheckpointError), match="/dev/full"):
        record.add({"epoch": 1}, network(), 1)
