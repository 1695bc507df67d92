"""The four files of MNIST inside the package, which no download can fail to bring."""

import functools
import hashlib
from importlib.resources import files
from typing import Any

from numpy.typing import NDArray

from xpcnn.data.idx import decompress, parse_idx
from xpcnn.errors import DatasetError

# of the uncompressed content
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

LARGEST_EMBEDDED = 16 + 60_000 * 28 * 28
"""Bytes of the training images."""


def read_embedded(name: str) -> NDArray[Any]:
    """Read one of MNIST's files from the package data. It is unpacked once in a process, and copied each time.

    Raises
    ------
    DatasetError
        Where the file is missing or not the original.
    """
    resource: Any = files("xpcnn.data") / "mnist" / f"{name}.xz"
    return _unpacked(resource, name).copy()


@functools.cache
def _unpacked(resource: Any, name: str) -> NDArray[Any]:
    who = f"the embedded MNIST file {name}.xz"
    try:
        packed = resource.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"{who}: expected it inside the package, got nothing ({error}); install xpcnn again"
        ) from error
    content = decompress(packed, who, LARGEST_EMBEDDED)
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise DatasetError(f"{who}: expected SHA-256 {SHA256[name]}, got {found}; install xpcnn again")
    return parse_idx(content, who)
