"""Pack MNIST's four original files as the package data of xpcnn.

    python tools/pack_mnist.py FOLDER

FOLDER holds the files under their original names, plain, .gz or .xz. Each must have its well-known
MD5 sum, uncompressed. The compression is LZMA2 at its slowest setting: four literal bits of context
because neighbouring pixels are alike, and no alignment because a pixel is one byte.
"""

import argparse
import hashlib
import lzma
from pathlib import Path

from xpcnn._disk.files import replacing
from xpcnn.data.idx import decompress

MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
FILTERS = [
    {
        "id": lzma.FILTER_LZMA2,
        "preset": 9 | lzma.PRESET_EXTREME,
        "lc": 4,
        "lp": 0,
        "pb": 0,
        "nice_len": 273,
    }
]


def main() -> None:
    parser = argparse.ArgumentParser(description="Pack MNIST's four files as package data.")
    parser.add_argument("folder", type=Path, help="where the original files are")
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "xpcnn" / "data" / "mnist")
    arguments = parser.parse_args()
    for name, md5 in MD5.items():
        candidates = [arguments.folder / (name + end) for end in ("", ".gz", ".xz")]
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is None:
            raise SystemExit(f"{arguments.folder}: expected {name}, {name}.gz or {name}.xz; put it there")
        content = decompress(path.read_bytes(), str(path))
        came = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if came != md5:
            raise SystemExit(f"{path}: expected MD5 {md5} of the uncompressed content, got {came}")
        packed = lzma.compress(content, check=lzma.CHECK_SHA256, filters=FILTERS)
        with replacing(arguments.output / f"{name}.xz") as file:
            file.write(packed)
        print(
            f"{name}.xz  {len(packed):>9,} bytes  SHA-256 of the content {hashlib.sha256(content).hexdigest()}"
        )


if __name__ == "__main__":
    main()
