"""Compare with torchvision: the same random weights, the same images; logits, gradients and running statistics.

    pip install torch torchvision
    python tools/compare_torch.py
    python tools/compare_torch.py --model resnet50 --model vgg16_bn --batch-size 4

A difference is max |ours - theirs| / max |theirs|, over the logits (float32, in evaluation), the running statistics, or
one parameter's gradient, of which the worst is shown. In float32 a ReLU near zero falls on one side here and on the
other there, so gradients are compared in float64; beside it, without a limit, stands how far each side's whole gradient
in float32 is from PyTorch's in float64, |difference| / |gradient|. Dropout is off, for its coins are others. Ours runs
on the active backend.
"""

import argparse
import copy
import datetime
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import xpcnn
from xpcnn import models
from xpcnn.backend import active_backend, to_device, to_host
from xpcnn.commands.command_line import run, whole
from xpcnn.initializers import zeros
from xpcnn.interop import torch as interop
from xpcnn.layers import Dropout, Layer, no_grad
from xpcnn.losses import SoftmaxCrossEntropy

NAMESAKES = {  # ours: torchvision's
    "alexnet_torchvision": "alexnet",
    **{name: name for name in models.BY_NAME if name.startswith("vgg")},
    "googlenet_torchvision": "googlenet",
    **{f"resnet{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152)},
}
LIMITS = {"logits": 1e-4, "statistics": 1e-3, "gradients": 1e-3}
ZERO = 1e-9
"""Against the network's largest gradient, what is less than this is zero, in float64."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--model", choices=NAMESAKES, action="append", help="network, may be repeated (default: all)")
    add(
        "--batch-size",
        type=whole(1),
        default=2,
        metavar="B",
        help="images of 224 x 224 (default: %(default)s)",
    )
    add("--seed", type=int, default=0, help="of weights and images (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    try:
        import torch
        import torchvision
    except ModuleNotFoundError as error:
        sys.exit(f"compare_torch.py: {error.name} is not installed; run: pip install torch torchvision")

    print(
        f"{datetime.date.today()}, {platform.system()} {platform.machine()}: xpcnn {xpcnn.__version__} on "
        f"{active_backend().name} (NumPy {np.__version__}), PyTorch {torch.__version__}, torchvision "
        f"{torchvision.__version__}; {args.batch_size} images of 3 x 224 x 224, float32\n"
    )
    print(
        "| network | torchvision's | parameters | logits | running statistics | gradients | float32 gradients: ours | "
        "PyTorch's | seconds |\n|---|---|--:|--:|--:|--:|--:|--:|--:|"
    )
    too_far = []
    for name in args.model or NAMESAKES:
        begin = time.perf_counter()
        torch.manual_seed(args.seed)
        options = {"aux_logits": False, "init_weights": True} if name.startswith("googlenet") else {}
        theirs = getattr(torchvision.models, NAMESAKES[name])(weights=None, **options)
        ours = models.BY_NAME[name](initializer=zeros)
        parameters = sum(parameter.data.size for parameter in ours.parameters())
        found = compare(ours, theirs, args.batch_size, args.seed)
        cells = (f"{found[what]:.1e}" if what in found else "-" for what in COLUMNS)
        seconds = time.perf_counter() - begin
        print(
            f"| {name} | {NAMESAKES[name]} | {parameters:,} | {' | '.join(cells)} | {seconds:.0f} |",
            flush=True,
        )
        too_far += [f"{name}: {what}" for what, limit in LIMITS.items() if not found.get(what, 0) < limit]
    limits = ", ".join(f"{what} {limit:g}" for what, limit in LIMITS.items())
    print(f"\ntoo far: {', '.join(too_far)}" if too_far else f"\nall within the limits: {limits}")
    return 1 if too_far else 0


COLUMNS = ("logits", "statistics", "gradients", "ours", "theirs")


def compare(ours: Layer, theirs: Any, batch_size: int, seed: int) -> dict[str, float]:
    """Return how far the two networks are from each other, by what is compared."""
    import torch
    from safetensors.torch import load_file

    rng = np.random.default_rng(seed)
    images = rng.standard_normal((batch_size, 3, 224, 224), np.float32)
    labels = rng.integers(0, 1000, batch_size)
    for layer in [*theirs.modules(), *(layer for _, layer in ours.named_layers())]:
        if isinstance(layer, (torch.nn.Dropout, Dropout)):
            layer.p = 0.0
    interop.load(ours, theirs.state_dict())

    exact = their_gradients(copy.deepcopy(theirs).double(), images, labels)
    found = {"gradients": farthest(our_gradients(ours.copy().astype("float64"), images, labels), exact)}
    found["theirs"] = apart(their_gradients(theirs, images, labels), exact)
    found["ours"] = apart(our_gradients(ours, images, labels), exact)

    state = theirs.state_dict()
    statistics = [
        distance(buffer.data, state[interop.torch_name(name)])
        for name, buffer in ours.named_buffers()
        if buffer.persistent
    ]
    if statistics:
        found["statistics"] = max(statistics)
    with tempfile.TemporaryDirectory() as folder:  # with the statistics of that step, through a file and back
        file = Path(folder) / "weights.safetensors"
        interop.save(ours, file)
        theirs.load_state_dict(load_file(file), strict=True)
        interop.load(ours, file)
    with torch.no_grad(), no_grad():
        logits = theirs.eval()(torch.from_numpy(images))
        found["logits"] = distance(ours.eval()(to_device(images)), logits)
    return found


def our_gradients(model: Layer, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return the gradients of one training step, by PyTorch's names."""
    criterion = SoftmaxCrossEntropy()
    criterion(model.train()(to_device(images.astype(model.parameters()[0].data.dtype))), to_device(labels))
    model.backward(criterion.backward(), need_dx=False)
    return {interop.torch_name(name): parameter.grad for name, parameter in model.named_parameters()}


def their_gradients(network: Any, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """The same by PyTorch."""
    import torch

    dtype = next(network.parameters()).dtype
    logits = network.train()(torch.from_numpy(images).to(dtype))
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
    return {name: parameter.grad.numpy() for name, parameter in network.named_parameters()}


def farthest(gradients: dict[str, Any], exact: dict[str, Any]) -> float:
    """Return the distance of the worst parameter's gradient.

    A bias before BatchNorm has none but for rounding: such a gradient is measured against the network's largest.
    """
    least = ZERO * max(np.abs(gradient).max() for gradient in exact.values())
    return max(distance(gradients[name], exact[name], least) for name in exact)


def apart(gradients: dict[str, Any], exact: dict[str, Any]) -> float:
    """Return |difference| / |gradient|, of all parameters together."""
    squares = [
        (np.sum((to_host(gradients[name]) - exact[name]) ** 2), np.sum(exact[name] ** 2)) for name in exact
    ]
    difference, whole_gradient = np.sqrt(np.sum(squares, axis=0))
    return float(difference / whole_gradient)


def distance(ours: Any, theirs: Any, least: float = np.finfo(np.float32).tiny) -> float:
    theirs = np.asarray(theirs)
    return float(np.abs(to_host(ours) - theirs).max() / max(np.abs(theirs).max(), least))


if __name__ == "__main__":
    run(main)
