"""IDX files, written here byte by byte."""

import builtins
import gzip
import lzma
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xpcnn.data.idx import decompress, parse_idx, read_idx
from xpcnn.errors import DatasetError

FORMATS = {
    0x08: ("uint8", "B"),
    0x09: ("int8", "b"),
    0x0B: ("int16", "h"),
    0x0C: ("int32", "i"),
    0x0D: ("float32", "f"),
    0x0E: ("float64", "d"),
}


def idx_bytes(array, code):
    """The format's own definition, value by value."""
    content = bytes([0, 0, code, array.ndim])
    for length in array.shape:
        content += struct.pack(">i", length)
    for value in array.ravel().tolist():
        content += struct.pack(">" + FORMATS[code][1], value)
    return content


@given(data=st.data(), code=st.sampled_from(sorted(FORMATS)))
def test_every_type_and_shape_comes_back(data, code):
    shape = data.draw(hnp.array_shapes(max_dims=4, min_side=0, max_side=4))
    array = data.draw(hnp.arrays(FORMATS[code][0], shape))
    read = parse_idx(idx_bytes(array, code), "test.idx")
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array)


@given(cut=st.integers(0, 30), code=st.sampled_from([0x08, 0x0D]))
def test_each_truncation_is_noticed(cut, code):
    content = idx_bytes(np.ones((2, 3, 4), FORMATS[code][0]), code)
    with pytest.raises(DatasetError, match=r"test\.idx: expected"):
        parse_idx(content[: len(content) - 1 - cut], "test.idx")


def test_too_long_is_noticed():
    with pytest.raises(DatasetError, match=r"expected 11 bytes for shape \(3,\), got 12.*longer"):
        parse_idx(idx_bytes(np.ones(3, np.uint8), 8) + b"\0", "test.idx")


@pytest.mark.parametrize("start", [b"", b"\0\0\x08", b"<htm", b"\0\0\x07\1", b"\0\1\x08\1", b"\0\0\x08\0"])
def test_another_format_is_named(start):
    with pytest.raises(DatasetError, match=r"expected an IDX file.*fetch the file again"):
        parse_idx(start, "test.idx")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_compression_is_told_by_content_not_by_name(tmp_path, pack):
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    path = tmp_path / "misnamed.txt"
    path.write_bytes(pack(idx_bytes(array, 8)))
    np.testing.assert_array_equal(read_idx(path), array)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
@pytest.mark.parametrize("damage", ["truncated", "corrupted"])
def test_damaged_compression_is_an_error_that_says_so(pack, damage):
    packed = pack(idx_bytes(np.arange(200, dtype=np.uint8), 8))
    middle = len(packed) // 2
    broken = packed[:-5] if damage == "truncated" else packed[:middle] + b"??????" + packed[middle + 6 :]
    with pytest.raises(DatasetError, match=r"f\.gz: expected a whole (gzip|xz) file.*fetch it again"):
        decompress(broken, "f.gz")


def test_gzip_with_senseless_blocks_is_an_error():
    with pytest.raises(DatasetError, match=r"f\.gz: expected a whole gzip file"):
        decompress(gzip.compress(b"")[:10] + b"\xff" * 20, "f.gz")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match=r"absent.*cannot be read"):
        read_idx(tmp_path / "absent")


def test_a_python_without_lzma_is_told_what_to_do(monkeypatch):
    imported = builtins.__import__

    def without_lzma(name, *rest):
        if name == "lzma":
            raise ImportError("No module named '_lzma'")
        return imported(name, *rest)

    packed = lzma.compress(b"anything")
    monkeypatch.setattr(builtins, "__import__", without_lzma)
    with pytest.raises(DatasetError, match="built without the lzma module; install liblzma"):
        decompress(packed, "f.xz")
