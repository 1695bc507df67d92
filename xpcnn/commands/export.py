"""Write a trained network for other programs: ONNX for inference, a state dict for PyTorch.

    pip install "xpcnn[onnx]"
    xpcnn export runs/simple/weights.safetensors --onnx simple.onnx
    xpcnn export runs/simple --torch simple_torch.safetensors

The weights file names its network and its data set; --model, --classes and --input-shape replace them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from xpcnn.commands import trained
from xpcnn.commands.command_line import new_parser, whole
from xpcnn.commands.models import by
from xpcnn.commands.trained import CHOICES
from xpcnn.errors import CheckpointError
from xpcnn.interop import onnx, torch


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    written = new_parser("export", __doc__)
    add = written.add_argument
    add("weights", type=Path, metavar="WEIGHTS", help="a weights file, or a run's folder: its best weights")
    add("--onnx", type=Path, metavar="FILE", help="write ONNX, opset current in onnx, any batch size")
    add("--torch", type=Path, metavar="FILE",
        help="write a state dict: .safetensors, or .pth where PyTorch is installed")  # fmt: skip
    add("--model", choices=CHOICES["model"], metavar="NAME", help="network (default: the file's)")
    add("--classes", type=whole(1), metavar="D", help="how many (default: the file's data set's)")
    add("--input-shape", type=whole(1), nargs=3, metavar=("C", "H", "W"),
        help="of an image (default: the file's data set's)")  # fmt: skip
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files; return the exit status."""
    arguments_of = parser()
    args = arguments_of.parse_args(arguments)
    if not (args.onnx or args.torch):
        arguments_of.error("nothing to write; pass --onnx FILE, --torch FILE or both")
    found = trained.find(args.weights)
    name = args.model or found.metadata.get("model")
    if name not in CHOICES["model"]:
        raise CheckpointError(
            f"{found.file}: names no network; pass --model with one of: {', '.join(CHOICES['model'])}"
        )
    classes, shape = args.classes or len(found.classes() or ()), args.input_shape or found.shape()
    if not (classes and shape):
        raise CheckpointError(f"{found.file}: names no data set; pass --classes and --input-shape")
    shape = tuple(shape)
    model = trained.load(found, name, classes, shape)
    if args.onnx:
        onnx.export(model, args.onnx, shape)
        print(f"{name} for images of {by(shape)} in {args.onnx}")
    if args.torch:
        torch.save(model, args.torch)
        print(f"{name}'s state dict in {args.torch}")
    return 0
