"""The binary version of CIFAR-10: records of a label byte and 3 x 32 x 32 bytes, red, green, then blue.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and
https://www.cs.toronto.edu/~kriz/cifar.html. The other version holds pickles, which can run any
code; it is not read here.
"""

import gzip
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcnn._disk.files import read_bounded, reason
from xpcnn.errors import DatasetError

ARCHIVE = "cifar-10-binary.tar.gz"
TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = ("test_batch.bin",)
IMAGE_SHAPE = (3, 32, 32)
CHUNK = 1 << 20  # bytes
RECORD = 1 + 3 * 32 * 32  # bytes
PART = 10_000 * RECORD  # bytes of one of the six files
LARGEST = 6 * PART + (1 << 20)  # bytes of the archive, unpacked


def read_archive(path: Path) -> dict[str, bytes]:
    """Read the six files out of the archive, in memory: no path inside it can reach the disk.

    No more is unpacked than six files of 10,000 images and a little text need.

    Raises
    ------
    DatasetError
        Where the archive is truncated, corrupted, too large, or lacks one of them as a plain file.
    """
    contents: dict[str, bytes] = {}
    try:
        with gzip.open(path) as packed:
            plain: Any = _Bounded(packed)
            with tarfile.open(fileobj=plain, mode="r|") as archive:
                for member in archive:
                    name = member.name.rpartition("/")[2]
                    if name in TRAIN + TEST:
                        contents[name] = _plain_file(archive, member)
            while plain.read(CHUNK):  # gzip's checksum comes last, after the end of the archive
                pass
    except _Unfit as error:
        raise DatasetError(f"{path}: {error}; take the publisher's archive") from None
    except Exception as error:  # tarfile has no list of what it raises
        said = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(
            f"{path}: expected a whole .tar.gz, got a truncated or corrupted one ({said:.200}); "
            "delete it and fetch it again"
        ) from error
    missing = [name for name in TRAIN + TEST if name not in contents]
    if missing:
        raise DatasetError(
            f"{path}: expected {', '.join(TRAIN + TEST)} inside, {', '.join(missing)} missing; "
            "take the binary version of CIFAR-10, not the one for Python or Matlab"
        )
    return contents


class _Unfit(Exception):
    """An archive that is whole but not CIFAR-10; the message says why."""


class _Bounded:
    """A stream that raises an error once it is longer than the archive can be."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self.stream, self.left = stream, LARGEST

    def read(self, size: int) -> bytes:
        content = self.stream.read(min(size, self.left + 1))
        self.left -= len(content)
        if self.left < 0:
            raise _Unfit(
                f"unpacks to more than {LARGEST:,} bytes, the most that six files of 10,000 images have"
            )
        return content


def _plain_file(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Return the contents of a member that is a plain file."""
    if not member.isreg() or member.issparse():
        raise _Unfit(f"{member.name} is not a plain file but a link or the like")
    if member.size > PART:
        raise _Unfit(f"{member.name} has {member.size:,} bytes, more than 10,000 images have")
    stream = archive.extractfile(member)
    return stream.read() if stream else b""


def read_folder(folder: Path) -> dict[str, bytes]:
    """Read the six files out of the unpacked archive."""
    contents = {}
    for name in TRAIN + TEST:
        try:
            content = read_bounded(folder / name, PART)
        except OSError as error:
            raise DatasetError(
                f"{folder}: cannot be read ({reason(error)}); check names and permissions"
            ) from error
        if content is None:
            raise DatasetError(
                f"{folder / name}: has more than {PART:,} bytes, the size of 10,000 images; fetch it again"
            )
        contents[name] = content
    return contents


def parse_records(contents: list[bytes], names: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Turn files of records into images (N, 3, 32, 32) and labels (N,); `names` is for errors."""
    for content, name in zip(contents, names, strict=True):
        if not content or len(content) % RECORD:
            raise DatasetError(
                f"{name}: expected records of {RECORD} bytes, got {len(content)} bytes: the file is truncated "
                "or not CIFAR-10's binary version; fetch it again"
            )
    records = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, RECORD)
    images = records[:, 1:].reshape(-1, *IMAGE_SHAPE)
    return images.copy(), records[:, 0].astype(np.int64)  # without the labels in between
