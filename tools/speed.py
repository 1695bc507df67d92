"""Measure against PyTorch what docs/speed.md says, and put the tables on the page.

    pip install torch                         an environment with PyTorch, and with xpcnn[fast] for the second half
    python tools/speed.py                   three runs of every network, on a machine that does nothing else: minutes
    python tools/speed.py --page            only write the tables anew, from docs/speed/against-pytorch.json

Every run is `benchmark.py --against pytorch`, whose JSON is kept as it is.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from xpcnn._disk.files import replacing

ROOT = Path(__file__).resolve().parent.parent
PAGE, FIGURES = ROOT / "docs" / "speed.md", ROOT / "docs" / "speed" / "against-pytorch.json"
BEGIN, END = "<!-- begin: tools/speed.py -->\n", "<!-- end -->\n"
NETWORKS = ("simple", "lenet5", "deep")
GOALS = {
    "pure": {"simple": 1.0, "lenet5": 0.6, "deep": 0.45},
    "tuned": {"simple": 1.3, "lenet5": 1.0, "deep": 0.6},
}
"""PyTorch's time by ours, at least: the floors for NumPy alone, and what the extra [fast] is to reach."""
TITLES = {"pure": "NumPy alone (`XPCNN_KERNELS=pure`)", "tuned": "With the extra `[fast]`"}
RUNS = 3

Json = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--page", action="store_true", help="measure nothing")
    if not parser.parse_args().page:
        kernels = list(GOALS) if importlib.util.find_spec("numba") else ["pure"]
        runs = [
            measured(model, chosen) | {"kernels": chosen, "run": run}
            for run in range(1, RUNS + 1)
            for chosen in kernels
            for model in NETWORKS
        ]
        with replacing(FIGURES) as file:
            file.write(("[\n" + ",\n".join(map(json.dumps, runs)) + "\n]\n").encode())  # a run a line
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    with replacing(PAGE) as file:
        file.write(
            (before + BEGIN + tables(json.loads(FIGURES.read_text())) + END + rest.partition(END)[2]).encode()
        )


def measured(model: str, kernels: str) -> Json:
    """Run the benchmark once; return its JSON."""
    command = [
        sys.executable, "scripts/benchmark.py", "--against", "pytorch", "--model", model, "--optimizer", "momentum",
        "--kernels", kernels,
    ]  # fmt: skip
    print("python", *command[1:], flush=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "result.json")
        subprocess.run([*command, "--json", str(file)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        result: Json = json.loads(file.read_text())
    print(f"    {result['ratio']['median']:.2f}, trusted: {result['noise']['trusted']}", flush=True)
    return result


def tables(runs: list[Json]) -> str:
    """Return the Markdown of all runs: a table for each choice of kernels, and the machine."""
    lines = []
    for kernels, goals in GOALS.items():
        chosen = [run for run in runs if run["kernels"] == kernels]
        if not chosen:
            continue
        numbers = sorted({run["run"] for run in chosen})
        lines += [
            f"### {TITLES[kernels]}",
            "",
            f"| network | asked | {' | '.join(f'run {number}' for number in numbers)} | xpcnn, ms | PyTorch, ms "
            "| its format | xpcnn, MB | PyTorch, MB |",
            "|---|--:|" + "--:|" * len(numbers) + "--:|--:|---|--:|--:|",
        ]
        for model, goal in goals.items():
            of_model = [run for run in chosen if run["model"] == model]
            formats = {run["better_format"] for run in of_model}
            ours = [step_ms(run, "xpcnn") for run in of_model]
            theirs = [step_ms(run, run["better_format"]) for run in of_model]
            names = ", ".join(sorted(name.removeprefix("PyTorch, ") for name in formats))
            memory = [of_model[0]["memory_bytes"][name] for name in ("xpcnn", of_model[0]["better_format"])]
            lines.append(
                f"| `{model}` | {goal:g} | {' | '.join(map(shown_ratio, of_model))} | {statistics.median(ours):.2f} "
                f"| {statistics.median(theirs):.2f} | {names} | {memory[0] / 1e6:.0f} | {memory[1] / 1e6:.0f} |"
            )
        lines.append("")
    machine = runs[-1]["machine"]
    lines += [
        f"{machine['date']}; {machine['cpu']}; {machine['threads']}; BLAS: {machine['blas']}; Python "
        f"{machine['python']}, NumPy {machine['numpy']}; PyTorch {machine['pytorch']}.",
        "",
    ]
    return "\n".join(lines)


def shown_ratio(run: Json) -> str:
    """A run's ratio with the lowest and highest of its rounds; a question mark where the machine was noisy."""
    ratio = run["ratio"]
    doubt = "" if run["noise"]["trusted"] else " (?)"
    return f"**{ratio['median']:.2f}** ({ratio['low']:.2f} to {ratio['high']:.2f}){doubt}"


def step_ms(run: Json, name: str) -> float:
    """Return the median of all steps of one contender, in milliseconds."""
    return statistics.median(1e3 * sum(step) for one_round in run["seconds"][name] for step in one_round)


if __name__ == "__main__":
    main()
