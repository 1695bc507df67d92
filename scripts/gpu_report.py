"""What a GPU does with xpcnn: the tests that need one, and training on it laid beside training on the CPU.

    python scripts/gpu_report.py                                    on a machine with a GPU: a few minutes
    python scripts/gpu_report.py --backend simulated --quick        tries the report itself, without a GPU

Writes REPORT-<device>-<date>.md and .json (and a picture, if matplotlib is installed) into docs/gpu. Every number in
them was measured by this run. The exit status is 0 if the tests passed and the curves agree.
"""

import argparse
import json
import platform
import re
import shlex
import subprocess
import sys
import time
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import xpcnn
from xpcnn import backend, data, models
from xpcnn._disk.files import replacing
from xpcnn.commands.command_line import run
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import Momentum
from xpcnn.training import evaluate, train

ROOT = Path(__file__).parents[1]
MODELS = ("simple", "deep")
EARLY, TOLERANCE = 10, 1e-3
"""The first EARLY losses must agree to TOLERANCE. A difference in the last bit that falls on a kink of ReLU or on a tie
of pooling sends a gradient another way, and from there on two runs part, on one machine too."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--backend",
        choices=("cupy", "simulated"),
        default="cupy",
        help="what computes (default: %(default)s)",
    )
    add("--output", type=Path, default=ROOT / "docs" / "gpu", metavar="DIR", help="default: docs/gpu")
    add("--epochs", type=int, default=1, help="passes over MNIST (default: %(default)s)")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--quick", action="store_true", help="few images and few tests: to try the report itself")
    add("--no-tests", action="store_true", help="train only")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    backend.set_backend(args.backend)  # before all else: a sentence if there is no GPU
    report: dict[str, Any] = {
        "device": device(args.backend), "date": date.today().isoformat(), "backend": args.backend, "quick": args.quick,
        "seed": args.seed, "machine": machine(), "tests": None if args.no_tests else tests(args.backend, args.quick),
        "training": {name: side_by_side(name, args) for name in MODELS},
    }  # fmt: skip
    passed = (report["tests"] or {"passed": True})["passed"]
    report["agrees"] = all(found["largest_early"] <= TOLERANCE for found in report["training"].values())
    stem = f"REPORT-{re.sub(r'[^A-Za-z0-9]+', '-', report['device']).strip('-')}-{report['date']}"
    args.output.mkdir(parents=True, exist_ok=True)
    picture = draw(report, args.output / f"{stem}.png")
    for suffix, text in ((".json", json.dumps(report, indent=1)), (".md", markdown(report, picture))):
        with replacing(args.output / f"{stem}{suffix}") as file:
            file.write((text + "\n").encode())
    print(f"{args.output / stem}.md: tests {'passed' if passed else 'FAILED'}; largest difference in loss " + ", ".join(
        f"{found['largest']:.2e} ({name})" for name, found in report["training"].items()))  # fmt: skip
    return int(not (passed and report["agrees"]))


# ---- what computes


def device(name: str) -> str:
    """Return the GPU's name."""
    if name == "simulated":
        return "simulated"
    import cupy

    return str(cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode())


def machine() -> dict[str, str]:
    """Return versions of all that takes part."""
    found = {"xpcnn": xpcnn.__version__, "python": platform.python_version(), "system": platform.platform()}
    found |= {name: metadata.version(name) for name in ("numpy",)}
    found["commit"] = output("git", "rev-parse", "HEAD") or "unknown"
    if backend.active_backend().name == "cupy":
        import cupy

        runtime = cupy.cuda.runtime
        found |= {"cupy": cupy.__version__, "cuda runtime": str(runtime.runtimeGetVersion()),
                  "cuda driver": str(runtime.driverGetVersion())}  # fmt: skip
        found["nvidia-smi"] = (
            output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader") or "unknown"
        )
    return found


def output(*command: str) -> str:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


# ---- the tests


def tests(name: str, quick: bool) -> dict[str, Any]:
    """Run the tests that need a GPU; return the command, whether all passed, and pytest's last line."""
    some = "simple or counts or leak"
    if name == "simulated":
        arguments = ["-q", "tests/gpu", "-k", f"simulated and ({some})" if quick else "simulated"]
    else:
        arguments = ["-q", "-m", "gpu", *(["tests/gpu", "-k", some] if quick else [])]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["no output"]
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
    command = f"python -m pytest {shlex.join(arguments)}"
    return {"command": command, "passed": done.returncode == 0, "summary": lines[-1]}


# ---- training, twice


class Recorder(SoftmaxCrossEntropy):
    """The criterion, keeping every loss on the device until the end."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[Any] = []

    def __call__(self, logits: Any, labels: Any) -> Any:
        self.losses.append(loss := super().__call__(logits, labels))
        return loss


def side_by_side(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Train a network on the GPU and on NumPy with one seed; return both curves and how far they part."""
    limit, size = (200, 20) if args.quick else (None, 100)
    runs = {
        where: curve(where, name, args.seed, args.epochs, limit, size) for where in (args.backend, "numpy")
    }
    apart = np.abs(np.subtract(*(found["losses"] for found in runs.values())))
    return {
        "runs": runs, "batch_size": size, "largest": float(apart.max()), "at_step": int(apart.argmax()) + 1,
        "largest_early": float(apart[:EARLY].max()),
    }  # fmt: skip


def curve(where: str, name: str, seed: int, epochs: int, limit: int | None, size: int) -> dict[str, Any]:
    with backend.use_backend(where):
        mnist, rng = data.load("mnist", quiet=True), np.random.default_rng(seed)
        dataset = tuple(part[:limit] for part in mnist.train)
        model, criterion = models.BY_NAME[name](10, rng), Recorder()
        training = train(
            model,
            criterion,
            Momentum(model.parameters(), 0.01),
            dataset,
            epochs=epochs,
            batch_size=size,
            rng=rng,
        )
        begin = time.perf_counter()
        for _ in training:
            backend.synchronize()
        seconds = time.perf_counter() - begin
        losses = [float(backend.to_host(loss)) for loss in criterion.losses]
        accuracy = evaluate(model, tuple(part[: limit or len(part)] for part in mnist.test))
    return {"losses": losses, "seconds": seconds, "test_accuracy": accuracy}


# ---- the pages


def markdown(report: dict[str, Any], picture: str | None) -> str:
    lines = [f"# xpcnn on {report['device']}, {report['date']}", ""]
    if report["backend"] == "simulated":
        lines += ["**No GPU: the simulated device in its place.** Its times say nothing about a GPU.", ""]
    if report["quick"]:
        lines += ["A quick run, on 200 images and few tests.", ""]
    lines += ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in report["machine"].items()), ""]
    if tests := report["tests"]:
        verdict = "passed" if tests["passed"] else "**failed**"
        lines += ["## Tests", "", f"`{tests['command']}`: {verdict}, `{tests['summary']}`.", ""]
    seed, columns = report["seed"], ("network", "backend", "steps", "seconds", "last loss", "test accuracy")
    lines += [
        "## Training",
        "",
        f"Momentum, learning rate 0.01, seed {seed}; the same weights, batches and masks.",
        "",
    ]
    lines += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, found in report["training"].items():
        for where, one in found["runs"].items():
            cells = (name, where, f"{len(one['losses'])} of {found['batch_size']} images", f"{one['seconds']:.1f}",
                     f"{one['losses'][-1]:.4f}", f"{one['test_accuracy']:.2%}")  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "The seconds include the compilation of kernels that were not in the cache.", ""]
    for name, found in report["training"].items():
        lines.append(f"`{name}`: the losses differ by {found['largest_early']:.1e} at most in the first {EARLY} steps, "
                     f"by {found['largest']:.1e} at most in all (step {found['at_step']}).")  # fmt: skip
    lines += ["", f"![Loss curves laid on each other]({picture})"] if picture else []
    return "\n".join(lines)


def draw(report: dict[str, Any], path: Path) -> str | None:
    """Lay the curves on each other in a picture, if matplotlib is installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return None
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, (name, found) in zip(figure.subplots(1, len(MODELS)), report["training"].items(), strict=True):
        for (where, one), style in zip(found["runs"].items(), ("-", "--"), strict=True):
            axes.plot(range(1, len(one["losses"]) + 1), one["losses"], style, linewidth=1, label=where)
        axes.set(title=name, xlabel="step", ylabel="loss", yscale="log")
        axes.legend()
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=120)
    return path.name


if __name__ == "__main__":
    run(main)
