"""The data sets: MNIST itself, and the others from small files of the same format."""

import gzip
import hashlib
import io
import lzma
import re
import struct
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from xpcnn._disk import caches
from xpcnn.data import (
    Dataset,
    Split,
    cache_folder,
    cifar10,
    class_names,
    datasets,
    embedded,
    fashion_mnist,
    load,
    mnist,
)
from xpcnn.data.datasets import IDX_FILES
from xpcnn.errors import DatasetError


@pytest.fixture(autouse=True)
def no_folder_of_the_user(monkeypatch, tmp_path_factory):
    """Neither XPCNN_DATA nor the true cache takes part in a test."""
    monkeypatch.delenv("XPCNN_DATA", raising=False)
    home = tmp_path_factory.mktemp("home")
    for variable in ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(home))


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def idx_files(N=7, n=4, seed=0):
    """The four files, small, and the arrays in them."""
    rng = np.random.default_rng(seed)
    arrays = [
        rng.integers(0, 256, (N, 28, 28), np.uint8),
        rng.integers(0, 10, N, np.uint8),
        rng.integers(0, 256, (n, 28, 28), np.uint8),
        rng.integers(0, 10, n, np.uint8),
    ]
    return {name: idx(array) for name, array in zip(IDX_FILES, arrays, strict=True)}, arrays


def put(folder, files, pack=bytes, end=""):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / (name + end)).write_bytes(pack(content))


def assert_holds(dataset, arrays):
    assert isinstance(dataset, Dataset)
    for split, images, labels in zip(dataset, arrays[::2], arrays[1::2], strict=True):
        assert isinstance(split, Split)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        assert split.images.flags.c_contiguous
        assert split.images.flags.writeable
        np.testing.assert_array_equal(split.images, images.reshape(len(images), -1, *images.shape[-2:]))
        np.testing.assert_array_equal(split.labels, labels)


def gz(files):
    return {name + ".gz": gzip.compress(content) for name, content in files.items()}


# ---------------------------------------------------------------- MNIST itself


@pytest.fixture(scope="module")
def real():
    return load("mnist")


def test_mnist_is_all_there(real):
    (x, t), (x_test, t_test) = real
    assert (x.shape, x.dtype, x.flags.c_contiguous) == ((60_000, 1, 28, 28), np.uint8, True)
    assert (x_test.shape, x_test.dtype) == ((10_000, 1, 28, 28), np.uint8)
    assert (t.shape, t.dtype, t_test.shape) == ((60_000,), np.int64, (10_000,))
    assert t[:5].tolist() == [5, 0, 4, 1, 9]
    assert t_test[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(t).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(t_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(float(x.mean(dtype=np.float64)) / 255, 4) == 0.1307  # the mean that everybody quotes
    assert round(float(x.std(dtype=np.float64)) / 255, 4) == 0.3081


@pytest.mark.parametrize(
    ("name", "md5"),
    [
        ("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb"),
        ("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624"),
        ("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea"),
        ("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637"),
    ],
)
def test_the_embedded_files_are_the_originals(name, md5):
    packed = Path(embedded.__file__).parent / "mnist" / f"{name}.xz"
    content = lzma.decompress(packed.read_bytes())
    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == md5
    assert hashlib.sha256(content).hexdigest() == embedded.SHA256[name]


def test_licence_and_source_lie_beside_the_data():
    text = (Path(embedded.__file__).parent / "mnist" / "README.md").read_text(encoding="utf-8")
    for wanted in ("Attribution-Share Alike 3.0", "LeCun", "Cortes", "Burges", *embedded.SHA256.values()):
        assert wanted in text


@pytest.mark.parametrize("damage", ["one bit", "truncated", "another file", "missing"])
def test_a_damaged_embedded_file_is_noticed(tmp_path, monkeypatch, damage):
    name = "t10k-labels-idx1-ubyte"
    original = (Path(embedded.__file__).parent / "mnist" / f"{name}.xz").read_bytes()
    content = lzma.decompress(original)
    damaged = {
        "one bit": lzma.compress(content[:-1] + bytes([content[-1] ^ 1])),  # a label changed, xz in order
        "truncated": original[:-100],
        "another file": lzma.compress(b"something else"),
    }
    (tmp_path / "mnist").mkdir()
    if damage != "missing":
        (tmp_path / "mnist" / f"{name}.xz").write_bytes(damaged[damage])
    monkeypatch.setattr(embedded, "files", lambda package: tmp_path)
    with pytest.raises(DatasetError, match=f"the embedded MNIST file {name}.*(install xpcnn|fetch it) again"):
        embedded.read_embedded(name)


# ---------------------------------------------------------------- folders


@pytest.mark.parametrize("function", [mnist, fashion_mnist])
@pytest.mark.parametrize(("pack", "end"), [(bytes, ""), (gzip.compress, ".gz"), (lzma.compress, ".xz")])
@pytest.mark.parametrize("subfolder", [True, False])
def test_a_folder_is_read(tmp_path, function, pack, end, subfolder):
    files, arrays = idx_files()
    name = function.__name__.replace("_", "-")
    put(tmp_path / name if subfolder else tmp_path, files, pack, end)
    assert_holds(function(tmp_path), arrays)
    assert_holds(load(name, str(tmp_path)), arrays)


def test_the_subfolder_wins(tmp_path):
    inside, arrays = idx_files(seed=1)
    put(tmp_path, idx_files(seed=0)[0])
    put(tmp_path / "mnist", inside)
    assert_holds(mnist(tmp_path), arrays)


def test_mnist_says_which_files_a_named_folder_lacks(tmp_path):
    files, _ = idx_files()
    del files["t10k-labels-idx1-ubyte"]
    put(tmp_path, files)
    with pytest.raises(DatasetError, match=r"expected the files train-images-idx3-ubyte.*leave data_dir out"):
        mnist(tmp_path)


def test_xpcnn_data_is_used_where_it_holds_the_files(tmp_path, monkeypatch, real):
    files, arrays = idx_files()
    monkeypatch.setenv("XPCNN_DATA", str(tmp_path))
    np.testing.assert_array_equal(mnist().test.labels, real.test.labels)  # not there: the embedded copy
    put(tmp_path / "mnist", files)
    assert_holds(mnist(), arrays)
    assert mnist(data_dir=tmp_path).train.labels.shape == (7,)


def test_data_dir_wins_over_xpcnn_data(tmp_path, monkeypatch):
    put(tmp_path / "variable", idx_files(seed=0)[0])
    files, arrays = idx_files(seed=1)
    put(tmp_path / "argument", files)
    monkeypatch.setenv("XPCNN_DATA", str(tmp_path / "variable"))
    assert_holds(mnist(tmp_path / "argument"), arrays)
    assert_holds(fashion_mnist(tmp_path / "argument"), arrays)


def balanced_files():
    """10,000 test labels as Fashion-MNIST has them, 1,000 of each class."""
    files, _ = idx_files(n=1)
    files["t10k-images-idx3-ubyte"] = idx(np.zeros((10_000, 28, 28), np.uint8))
    files["t10k-labels-idx1-ubyte"] = idx((np.arange(10_000) % 10).astype(np.uint8))
    return files


def test_fashion_mnist_is_not_taken_for_mnist_nor_mnist_for_fashion_mnist(tmp_path, real):
    files = balanced_files()
    put(tmp_path, files)
    assert len(fashion_mnist(tmp_path).test.labels) == 10_000
    with pytest.raises(DatasetError, match="expected mnist, got the labels of fashion-mnist"):
        mnist(tmp_path)
    files["t10k-labels-idx1-ubyte"] = idx(real.test.labels.astype(np.uint8))
    put(tmp_path, files)
    assert len(mnist(tmp_path).test.labels) == 10_000
    with pytest.raises(DatasetError, match="expected fashion-mnist, got the labels of mnist"):
        fashion_mnist(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-labels-idx1-ubyte", idx(np.zeros(6, np.uint8)), r"one label for each of 7 images.*\(6,\)"),
        ("train-labels-idx1-ubyte", idx(np.full(7, 10, np.uint8)), "from 0 to 9, got 10 at index 0"),
        (
            "t10k-images-idx3-ubyte",
            idx(np.zeros((4, 27, 28), np.uint8)),
            r"images \(N, 28, 28\), .*got uint8 \(4, 27",
        ),
        ("t10k-images-idx3-ubyte", idx(np.zeros((0, 28, 28), np.uint8)), "at least one"),
        ("t10k-images-idx3-ubyte", idx(np.zeros((4, 28, 28), np.uint8))[:-1], "truncated"),
        ("t10k-images-idx3-ubyte", gzip.compress(b"x" * 99)[:-3], "truncated or corrupted"),
        ("t10k-images-idx3-ubyte", b"<html>404</html>", "expected an IDX file"),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, content, message):
    files, _ = idx_files()
    put(tmp_path, files | {name: content})
    for function in (mnist, fashion_mnist):
        with pytest.raises(DatasetError, match=f"{re.escape(str(tmp_path / name))}: .*{message}"):
            function(tmp_path)


# ---------------------------------------------------------------- CIFAR-10


def cifar_files(n=3, seed=0):
    """The six files, n records each, and the arrays in them; written record by record."""
    rng = np.random.default_rng(seed)
    files, images, labels = {}, [], []
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        content = b""
        for _ in range(n):
            label, image = int(rng.integers(10)), rng.integers(0, 256, (3, 32, 32), np.uint8)
            content += bytes([label])
            for channel in image:
                for row in channel:
                    content += bytes(row.tolist())
            images.append(image)
            labels.append(label)
        files[name] = content
    split = 5 * n
    return files, [np.array(a) for a in (images[:split], labels[:split], images[split:], labels[split:])]


def tar_gz(files, folder="cifar-10-batches-bin/"):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in {"readme.html": b"read me", **files}.items():
            member = tarfile.TarInfo(folder + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize("place", [".", "cifar-10-batches-bin", "cifar10", "cifar10/cifar-10-batches-bin"])
def test_cifar_unpacked_is_read(tmp_path, place):
    files, arrays = cifar_files()
    put(tmp_path / place, files)
    assert_holds(cifar10(tmp_path), arrays)


@pytest.mark.parametrize("place", [".", "cifar10"])
def test_cifar_archive_is_read_and_nothing_unpacked(tmp_path, place):
    files, arrays = cifar_files()
    put(tmp_path / place, {"cifar-10-binary.tar.gz": tar_gz(files, folder="../../outside/")})
    before = sorted(tmp_path.parent.rglob("*"))
    assert_holds(load("cifar10", tmp_path), arrays)
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_a_bad_cifar_file_is_named(tmp_path):
    files, _ = cifar_files()
    whole = tar_gz(files)
    path = tmp_path / "cifar-10-binary.tar.gz"

    def refuses(content, message):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=f"{re.escape(str(path))}: .*{message}"):
            cifar10(tmp_path)

    refuses(whole[: len(whole) // 2], "truncated or corrupted")
    refuses(whole[:5000] + bytes(50) + whole[5050:], "truncated or corrupted")
    refuses(whole[:10] + b"\xff" * 20, "truncated or corrupted")
    refuses(b"<html>404</html>", "truncated or corrupted")
    refuses(b"", "truncated or corrupted")
    refuses(tar_gz({"data_batch_1": b""}), "data_batch_1.bin, .* missing; take the binary version")
    refuses(
        tar_gz(files | {"data_batch_2.bin": files["data_batch_2.bin"][:-1]}),
        "records of 3073 bytes, got 9218",
    )
    refuses(tar_gz(files | {"test_batch.bin": b""}), "records of 3073 bytes, got 0")
    refuses(tar_gz(files | {"test_batch.bin": bytes([10]) + bytes(3072)}), "from 0 to 9, got 10 at index 0")


# ---------------------------------------------------------------- downloads


@pytest.mark.parametrize("where", ["data_dir", "variable", "cache"])
def test_fashion_mnist_is_downloaded_once(tmp_path, monkeypatch, mirror, make_source, where):
    files, arrays = idx_files()
    only = mirror(gz(files))
    source = make_source("fashion-mnist", only.files, only)
    folder = {"data_dir": tmp_path, "variable": tmp_path, "cache": cache_folder()}[where]
    if where == "variable":
        monkeypatch.setenv("XPCNN_DATA", str(tmp_path))
    data_dir = tmp_path if where == "data_dir" else None
    for _ in range(2):
        assert_holds(fashion_mnist(data_dir, source=source, quiet=True), arrays)
    assert len(only.asked) == 4
    assert sorted(p.name for p in (folder / "fashion-mnist").iterdir()) == sorted(only.files)


def test_cifar_is_downloaded_once(tmp_path, mirror, make_source):
    files, arrays = cifar_files()
    refusing, good = mirror({}, status=403), mirror({"cifar-10-binary.tar.gz": tar_gz(files)})
    source = make_source("cifar10", good.files, refusing, good)
    for _ in range(2):
        assert_holds(cifar10(tmp_path, source=source, quiet=True), arrays)
    assert len(refusing.asked) == len(good.asked) == 1
    assert (tmp_path / "cifar10" / "cifar-10-binary.tar.gz").is_file()


def test_files_put_there_by_hand_repair_a_failed_download(tmp_path, mirror, make_source):
    files, arrays = idx_files()
    source = make_source("fashion-mnist", gz(files), mirror({}))
    with pytest.raises(DatasetError, match="HTTP 404") as caught:
        fashion_mnist(tmp_path, source=source, quiet=True)
    folder = re.search("by hand into (.*):\n", str(caught.value))[1]
    put(Path(folder), gz(files))
    assert_holds(fashion_mnist(tmp_path, source=source, quiet=True), arrays)


@pytest.mark.parametrize("where", ["data_dir", "cache"])
def test_what_was_downloaded_is_checked_whenever_it_is_read(tmp_path, mirror, make_source, where):
    files, arrays = idx_files()
    only = mirror(gz(files))
    source = make_source("fashion-mnist", only.files, only)
    data_dir = tmp_path if where == "data_dir" else None
    folder = (tmp_path if data_dir else cache_folder()) / "fashion-mnist"
    fashion_mnist(data_dir, source=source, quiet=True)
    other = gz(idx_files(seed=1)[0])  # whole, and of the same format
    for name, content in other.items():
        (folder / name).write_bytes(content)
        with pytest.raises(
            DatasetError, match=rf"{name}: expected the file that fashion-mnist publishes.*delete it"
        ):
            fashion_mnist(data_dir, source=source, quiet=True)
        (folder / name).unlink()
        assert_holds(fashion_mnist(data_dir, source=source, quiet=True), arrays)  # fetched again
    assert len(only.asked) == 8


def test_an_archive_is_checked_whenever_it_is_read(tmp_path, mirror, make_source):
    files, arrays = cifar_files()
    only = mirror({"cifar-10-binary.tar.gz": tar_gz(files)})
    source = make_source("cifar10", only.files, only)
    assert_holds(cifar10(tmp_path, source=source, quiet=True), arrays)
    (tmp_path / "cifar10" / "cifar-10-binary.tar.gz").write_bytes(tar_gz(cifar_files(seed=1)[0]))
    with pytest.raises(DatasetError, match="expected the file that cifar10 publishes"):
        cifar10(tmp_path, source=source, quiet=True)


def test_data_of_ones_own_in_a_named_folder_is_read_and_said(tmp_path, monkeypatch, capsys, make_source):
    """Nobody's hash is known for it; but one file of the published length among them is a damaged set."""
    files, arrays = idx_files()
    put(tmp_path, files, gzip.compress, ".gz")
    monkeypatch.setattr(caches, "_said", set())
    assert_holds(fashion_mnist(tmp_path), arrays)
    assert "read as data of your own" in capsys.readouterr().err
    published = gz(files) | {"train-labels-idx1-ubyte.gz": gzip.compress(idx(np.zeros(7, np.uint8)), mtime=1)}
    monkeypatch.setattr(datasets, "FASHION_MNIST", make_source("fashion-mnist", published))
    with pytest.raises(DatasetError, match=r"train-labels-idx1-ubyte\.gz: expected the file"):
        fashion_mnist(tmp_path)


# ---------------------------------------------------------------- names


def test_an_unknown_name_lists_the_known():
    for function in (load, class_names):
        with pytest.raises(
            DatasetError, match="expected one of 'mnist', 'fashion-mnist', 'cifar10', got 'cifar'"
        ):
            function("cifar")


def test_every_data_set_has_ten_class_names():
    for name in datasets.LOADERS:
        assert len(set(class_names(name))) == 10
    assert class_names("mnist")[7] == "7"
    assert class_names("fashion-mnist")[0] == "T-shirt/top"
    assert class_names("cifar10")[9] == "truck"


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", None, ".cache/xpcnn"),
        ("linux", "XDG_CACHE_HOME", "elsewhere/xpcnn"),
        ("darwin", None, "Library/Caches/xpcnn"),
        ("win32", None, "AppData/Local/xpcnn"),
        ("win32", "LOCALAPPDATA", "elsewhere/xpcnn"),
    ],
)
def test_the_cache_is_where_the_platform_wants_it(monkeypatch, tmp_path, platform, variable, expected):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / expected
