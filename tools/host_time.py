"""Measure the host time of an eager training step: what Python takes when every kernel does nothing.

Each op is replaced by one that returns an array prepared before: what the real op returned at the same place of a
step. So the time left is that of the layers, the passes, the dispatch, the loss and the optimizer, and it is nearly the
same for any batch size.

    python tools/host_time.py
    python tools/host_time.py --beside ../another-checkout --rounds 40
    python tools/host_time.py --calls

With --beside both checkouts run in turn, each in a process of its own, and the ratio is that of each round's two
times. --calls prints the Python calls of a step in place of times.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
NETWORKS = {"simple": (1, 28, 28), "lenet5": (1, 28, 28), "deep": (1, 28, 28), "resnet20": (3, 32, 32)}
BATCH = 2


def main(arguments: list[str] | None = None) -> None:
    """Print a line for each network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)}; all of them if none is given")
    parser.add_argument("--beside", metavar="PATH", help="another checkout of this repository")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20, help="steps in a round")
    parser.add_argument("--calls", action="store_true", help="print the Python calls of a step")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = options.networks or list(NETWORKS)
    if unknown := set(names) - set(NETWORKS):
        parser.error(f"unknown: {', '.join(unknown)}; pass some of: {', '.join(NETWORKS)}")
    if options.serve:
        serve(options.serve, names[0])
    elif options.calls:
        for name in names:
            with idle_step(name) as step:
                print(f"{name:10} {calls(step):7,} Python calls a step")
    else:
        compare(names, [HERE, *([Path(options.beside).resolve()] if options.beside else [])], options)


@contextmanager
def idle_step(name: str) -> Iterator[Callable[[], None]]:
    """Inside the ``with`` block kernels do nothing; yield a function that runs one training step of a network."""
    import numpy as np

    from xpcnn import models, ops
    from xpcnn.backend import set_backend
    from xpcnn.losses import SoftmaxCrossEntropy
    from xpcnn.optimizers import Momentum

    kernels = set_backend("numpy").kernels
    model, criterion = getattr(models, name)(rng=0), SoftmaxCrossEntropy()
    optimizer = Momentum(model.parameters(), lr=1e-4)
    x = np.random.default_rng(0).standard_normal((BATCH, *NETWORKS[name])).astype(np.float32)
    labels = np.arange(BATCH) % 10

    def step() -> None:
        criterion(model(x), labels)
        model.backward(criterion.backward(), need_dx=False)
        optimizer.step()

    ops_by_name = {name: op for name, op in vars(ops).items() if hasattr(op, "__wrapped__")}
    real = {name: kernels.get(name, op.__wrapped__) for name, op in ops_by_name.items()}
    results, depth = [], [0]

    def recorded(op: Callable[..., Any]) -> Callable[..., Any]:
        def record(*args: Any, **options: Any) -> Any:
            depth[0] += 1
            result = op(*args, **options)
            depth[0] -= 1
            if not depth[0]:  # of ops within ops the outermost alone
                results.append(result)
            return result

        return record

    installed = dict(kernels)
    try:
        step()
        kernels.update({name: recorded(op) for name, op in real.items()})
        step()
        prepared = itertools.cycle(results)
        kernels.update(dict.fromkeys(real, lambda *args, **options: next(prepared)))
        yield step
    finally:
        kernels.clear()
        kernels.update(installed)


def calls(step: Callable[[], None]) -> int:
    """Return how many Python functions a step calls."""
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    for _ in range(3):
        step()
    sys.setprofile(profile)
    try:
        step()
    finally:
        sys.setprofile(None)
    return count


def serve(checkout: str, name: str) -> None:
    """Run as many steps as each line of stdin says, and print their median in microseconds."""
    import xpcnn

    if not xpcnn.__file__.startswith(checkout):
        raise SystemExit(f"xpcnn is imported from {xpcnn.__file__}, not from {checkout}")
    with idle_step(name) as step:
        for line in sys.stdin:
            times = []
            for _ in range(int(line)):
                start = time.perf_counter()
                step()
                times.append(time.perf_counter() - start)
            print(statistics.median(times) * 1e6, flush=True)


def compare(names: list[str], checkouts: list[Path], options: argparse.Namespace) -> None:
    """Time the networks in each checkout, in turn."""
    print(f"microseconds a step: median of {options.rounds} rounds of {options.steps} steps (quartiles)")
    for name in names:
        with ExitStack() as stack:  # it ends the processes
            processes = [stack.enter_context(start(checkout, name)) for checkout in checkouts]
            rounds = []
            for number in range(options.rounds + 1):
                times = [0.0] * len(processes)
                for index in range(len(processes))[:: 1 if number % 2 else -1]:  # each is first as often
                    times[index] = ask(processes[index], options.steps)
                rounds.append(times)
        columns = list(zip(*rounds[1:], strict=True))  # the first round warms up
        line = f"{name:10}" + "".join(f" {spread(column, '.0f')}" for column in columns)
        if len(columns) == 2:
            line += f"   ratio {spread([a / b for a, b in rounds[1:]], '.2f')}"
        print(line, flush=True)


def start(checkout: Path, name: str) -> Any:
    """Start a process that serves one network of a checkout, by this very file."""
    program = (
        "import runpy, sys; sys.path.insert(0, sys.argv[1]); "
        "runpy.run_path(sys.argv[2])['main'](['--serve', sys.argv[1], sys.argv[3]])"
    )
    command = [sys.executable, "-c", program, str(checkout), str(Path(__file__).resolve()), name]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(process: Any, steps: int) -> float:
    """Let a process run some steps, and return their median time."""
    process.stdin.write(f"{steps}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def spread(values: Any, form: str) -> str:
    """Return the median, and the quartiles in brackets."""
    low, median, high = statistics.quantiles(values, n=4)
    return f"{median:{form}} ({low:{form}} to {high:{form}})"


if __name__ == "__main__":
    main()
