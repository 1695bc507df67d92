"""Train every recipe of docs/results.md with three seeds, and write the page from what came out.

python tools/results.py                 all recipes, one run after another: hours
python tools/results.py simple lenet5   these again; the others keep the figures in docs/results.json
python tools/results.py --page          only write the page anew from docs/results.json
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from xpcnn._disk.files import replacing
from xpcnn.benchmark import machine

ROOT = Path(__file__).resolve().parent.parent
FIGURES, PAGE = ROOT / "docs" / "results.json", ROOT / "docs" / "results.md"
SEEDS = (0, 1, 2)
RECIPES = {
    "simple": "",
    "lenet5": "--model lenet5",
    "deep": "--model deep",
    "deep-augmented": "--model deep --augment --epochs 12",
    "resnet20": "--model resnet20 --augment --epochs 5",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", nargs="*", help=f"of: {', '.join(RECIPES)} (default: all)")
    parser.add_argument("--page", action="store_true", help="train nothing")
    args = parser.parse_args()
    unknown = set(args.recipe) - set(RECIPES)
    if unknown:
        parser.error(f"no such recipe: {', '.join(unknown)}; choose from {', '.join(RECIPES)}")

    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    for name in [] if args.page else args.recipe or RECIPES:
        runs = [run(RECIPES[name], seed) for seed in SEEDS]
        figures[name] = {"arguments": RECIPES[name], "machine": machine(), "runs": runs}
        with replacing(FIGURES) as handle:
            handle.write((json.dumps(figures, indent=1) + "\n").encode())
    with replacing(PAGE) as handle:
        handle.write(page(figures).encode())


def run(recipe: str, seed: int) -> dict[str, Any]:
    command = [sys.executable, "scripts/train.py", *recipe.split(), "--seed", str(seed), "--quiet", "--json"]
    print("python", *command[1:], flush=True)
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(output, end="", flush=True)
    return {"seed": seed, **json.loads(output.splitlines()[-1])}


def page(figures: dict[str, Any]) -> str:
    lines = [
        "# Results",
        "",
        "Accuracy on the 10,000 test images of MNIST after the last epoch: no epoch and no seed is chosen by it. Each",
        "recipe is trained with the seeds 0, 1 and 2. `python tools/results.py` makes this page; `docs/results.json`",
        "has every run.",
        "",
        "| command | epochs | mean | worst | best | mean error | seconds of training (median) |",
        "|---|---|---|---|---|---|---|",
    ]
    for figure in figures.values():
        scores = [entry["test_accuracy"] for entry in figure["runs"]]
        mean = statistics.fmean(scores)
        lines.append(
            f"| `python scripts/train.py {figure['arguments']}".rstrip()
            + f"` | {figure['runs'][0]['epochs']} | **{mean:.2%}** | {min(scores):.2%} | {max(scores):.2%} "
            f"| {1 - mean:.2%} | {statistics.median(entry['seconds'] for entry in figure['runs']):.0f} |"
        )
    lines += ["", "Machines and dates:", ""]
    for name, figure in figures.items():
        on = figure["machine"]
        threads = f"; {on['threads']}" if "threads" in on else ""
        remark = f"; {figure['remark']}" if "remark" in figure else ""
        lines.append(
            f"- {name}: {on['date']}, {on['cpu']}{threads}; BLAS: {on['blas']}; NumPy {on['numpy']}{remark}"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
