"""Time a training step: data, forward, backward and update, and how many operations a second that is.

    python scripts/benchmark.py --model deep --batch-size 100
    XPCNN_KERNELS=reference python scripts/benchmark.py        without the tuned kernels

The images are MNIST's, the learning rate is small and constant.
"""

import argparse
import json

from xpcnn import benchmark, data, models, optimizers
from xpcnn.backend import NAMES, active_backend, set_backend
from xpcnn.command_line import run, whole


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--model", choices=models.BY_NAME, default="simple", help="network (default: %(default)s)")
    add("--batch-size", type=whole(1), default=100, metavar="B", help="images a step (default: %(default)s)")
    add("--backend", choices=NAMES, help="where to compute (default: $XPCNN_BACKEND, or numpy)")
    add("--steps", type=whole(1), default=50, metavar="N", help="steps that are timed (default: %(default)s)")
    add("--warm-up", type=whole(0), default=10, metavar="N", help="steps before them (default: %(default)s)")
    add("--optimizer", choices=optimizers.BY_NAME, default="adam", help="(default: %(default)s)")
    add("--json", action="store_true", help="end with one line of JSON")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    set_backend(args.backend) if args.backend else active_backend()
    images, labels = data.mnist().train
    shape = images.shape[1:]
    model = models.BY_NAME[args.model](10, 0, input_shape=shape)
    optimizer = optimizers.BY_NAME[args.optimizer](model.parameters(), 1e-4)

    seconds = benchmark.time_steps(
        model, optimizer, (images, labels), batch_size=args.batch_size, steps=args.steps, warm_up=args.warm_up
    )
    table = benchmark.timings(seconds, benchmark.operations(model, shape, args.batch_size))
    step, multiply_adds, machine = table["step"], model.multiply_adds(shape), benchmark.machine()
    images_per_second = 1e3 * args.batch_size / step.median_ms

    print(f"{args.model}, {args.batch_size} images a step, {args.optimizer}")
    print(f"{args.steps} steps after {args.warm_up} to warm up\n")
    print(benchmark.timing_table(table))
    print(f"\n{images_per_second:,.0f} images/s, {step.gflops:.1f} GFLOP/s in the step as a whole")
    print(f"counted: two operations for each of {multiply_adds:,} multiply-adds an image in forward, and in")
    print("backward the same for dW and again for dx, without the first layer's dx; all else is nothing\n")
    print("\n".join(f"{name:<8} {text}" for name, text in machine.items()))
    if args.json:
        print(json.dumps({
            "model": args.model, "batch_size": args.batch_size, "optimizer": args.optimizer, "steps": args.steps,
            "warm_up": args.warm_up, "images_per_second": images_per_second, "multiply_adds": multiply_adds,
            "gflops": step.gflops, "phases": {name: row._asdict() for name, row in table.items()},
            "machine": machine,
        }))  # fmt: skip
    return 0


if __name__ == "__main__":
    run(main)
