"""The binary version of CIFAR-10: records of a label byte and 3 x 32 x 32 bytes, red, green, then blue.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and
https://www.cs.toronto.edu/~kriz/cifar.html. The other version holds pickles, which may run any
code that their author likes; it is not read here.
"""

import gzip
import tarfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xpcnn.errors import DatasetError

ARCHIVE = "cifar-10-binary.tar.gz"
TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = ("test_batch.bin",)
IMAGE_SHAPE = (3, 32, 32)
CHUNK = 1 << 20  # bytes
RECORD = 1 + 3 * 32 * 32  # bytes


def read_archive(path: Path) -> dict[str, bytes]:
    """Read the six files out of the archive, in memory: no path inside it can reach the disk.

    Raises
    ------
    DatasetError
        Where the archive is truncated, corrupted, or lacks one of them.
    """
    contents: dict[str, bytes] = {}
    try:
        with gzip.open(path) as plain, tarfile.open(fileobj=plain, mode="r:") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                stream = archive.extractfile(member) if name in TRAIN + TEST else None
                if stream is not None:
                    contents[name] = stream.read()
            while plain.read(CHUNK):  # gzip's checksum stands at the end, behind the archive's own
                pass
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DatasetError(
            f"{path}: expected a whole .tar.gz, got a truncated or corrupted one ({error}); "
            "delete it and fetch it again"
        ) from error
    missing = [name for name in TRAIN + TEST if name not in contents]
    if missing:
        raise DatasetError(
            f"{path}: expected {', '.join(TRAIN + TEST)} inside, {', '.join(missing)} missing; "
            "take the binary version of CIFAR-10, not the one for Python or Matlab"
        )
    return contents


def read_folder(folder: Path) -> dict[str, bytes]:
    """Read the six files out of the unpacked archive."""
    try:
        return {name: (folder / name).read_bytes() for name in TRAIN + TEST}
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read ({error}); check names and permissions") from error


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
