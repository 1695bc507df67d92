"""Compare with onnxruntime: every network at its full size, with random weights, exported and read back.

    pip install "xpcnn[onnx]" onnxruntime
    python tools/compare_onnx.py

A difference is max |ours - theirs| / max |theirs| over the scores of two images, in float32. Export itself runs
onnx.checker and shape inference.
"""

import argparse
import datetime
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import xpcnn
from xpcnn import models
from xpcnn.backend import active_backend, to_device, to_host
from xpcnn.commands.command_line import run
from xpcnn.commands.models import build
from xpcnn.interop import onnx as interop
from xpcnn.layers import Layer, no_grad

LIMIT = 1e-5


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--model", choices=models.BY_NAME, action="append", help="may be repeated (default: all)"
    )
    return parser.parse_args()


def main() -> int:
    args = arguments()
    try:
        import onnx
        import onnxruntime
    except ModuleNotFoundError as error:
        sys.exit(
            f'compare_onnx.py: {error.name} is not installed; run: pip install "xpcnn[onnx]" onnxruntime'
        )
    print(
        f"{datetime.date.today()}, {platform.system()} {platform.machine()}: xpcnn {xpcnn.__version__} on "
        f"{active_backend().name} (NumPy {np.__version__}), onnx {onnx.__version__} (opset "
        f"{onnx.defs.onnx_opset_version()}), onnxruntime {onnxruntime.__version__}\n"
    )
    print("| network | bytes | onnxruntime | read back |\n|---|--:|--:|--:|")
    too_far = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.model or models.BY_NAME:
            file = Path(folder) / "model.onnx"
            theirs, again = compare(*build(name), file, onnxruntime)
            print(f"| {name} | {file.stat().st_size:,} | {theirs:.1e} | {again:.1e} |", flush=True)
            too_far += [name] if not max(theirs, again) < LIMIT else []
    print(f"\ntoo far: {', '.join(too_far)}" if too_far else f"\nall within {LIMIT:g}")
    return 1 if too_far else 0


def compare(model: Layer, shape: tuple[int, ...], file: Path, onnxruntime: Any) -> tuple[float, float]:
    """Return how far onnxruntime's scores, and those of the model read back, are from ours."""
    rng = np.random.default_rng(0)
    images = rng.random((2, *shape), np.float32)
    for parameter in model.parameters():  # built of zeros
        size = parameter.data.shape
        if len(size) > 1:
            drawn = rng.standard_normal(size, np.float32)
            parameter.data = to_device(drawn * np.float32((2 / np.prod(size[1:])) ** 0.5))
    with no_grad():
        scores = to_host(model.eval()(to_device(images)))
        interop.export(model, file, shape)
        again = to_host(interop.load(file)(to_device(images)))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"images": images})
    return tuple(float(np.abs(scores - other).max() / np.abs(other).max()) for other in (theirs, again))


if __name__ == "__main__":
    run(main)
