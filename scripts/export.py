"""Write a trained network for other programs: ONNX for inference, a state dict for PyTorch.

    pip install "xpcnn[onnx]"
    python scripts/export.py runs/simple/weights.safetensors --onnx simple.onnx
    python scripts/export.py runs/simple/weights.safetensors --torch simple_torch.safetensors

Which network and which data set it is stands in the weights file; --model, --classes and --input-shape say otherwise.
"""

import argparse
from pathlib import Path

from xpcnn import data, models
from xpcnn.checkpoint import load_weights, read_weights
from xpcnn.commands.command_line import run, whole
from xpcnn.errors import CheckpointError
from xpcnn.interop import onnx, torch

SHAPES = {"mnist": (1, 28, 28), "fashion-mnist": (1, 28, 28), "cifar10": (3, 32, 32)}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("weights", type=Path, metavar="WEIGHTS", help="file that scripts/train.py wrote")
    add("--onnx", type=Path, metavar="FILE", help="write ONNX, opset current in onnx, any batch size")
    add(
        "--torch",
        type=Path,
        metavar="FILE",
        help="write a state dict: .safetensors, or .pth where PyTorch is installed",
    )
    add("--model", choices=models.BY_NAME, help="network (default: the file's)")
    add("--classes", type=whole(1), metavar="D", help="how many (default: the file's data set's)")
    add(
        "--input-shape",
        type=whole(1),
        nargs=3,
        metavar=("C", "H", "W"),
        help="of an image (default: the data set's)",
    )
    args = parser.parse_args()
    if not (args.onnx or args.torch):
        parser.error("nothing to write; pass --onnx FILE, --torch FILE or both")
    return args


def main() -> int:
    args = arguments()
    _, metadata = read_weights(args.weights)
    name, dataset = args.model or metadata.get("model"), metadata.get("dataset")
    if name not in models.BY_NAME:
        raise CheckpointError(
            f"{args.weights}: names no network; pass --model with one of: {', '.join(models.BY_NAME)}"
        )
    if dataset not in SHAPES and not (args.classes and args.input_shape):
        raise CheckpointError(f"{args.weights}: names no data set; pass --classes and --input-shape")
    shape = tuple(args.input_shape or SHAPES[dataset])
    model = models.BY_NAME[name](args.classes or len(data.class_names(dataset)), 0, input_shape=shape)
    load_weights(model, args.weights)
    if args.onnx:
        onnx.export(model, args.onnx, shape)
        print(f"{name} for images of {' x '.join(map(str, shape))} in {args.onnx}")
    if args.torch:
        torch.save(model, args.torch)
        print(f"{name}'s state dict in {args.torch}")
    return 0


if __name__ == "__main__":
    run(main)
