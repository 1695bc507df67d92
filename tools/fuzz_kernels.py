"""Compare random cases of the kernels with the textbook's ops for some minutes; print what fails as a program.

    python tools/fuzz_kernels.py --kernels compiled --minutes 30 --seed 7

What fails is reduced to the smallest case that does; it belongs into FOUND of tests/kernels/test_fuzz.py. The exit
status is 1 if there is any. Run it with the environment that `make test` makes.
"""

import argparse
import itertools
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fuzzing import DRAWS, KINDS, search, substitutes  # noqa: E402

ROUND = 100
"""Cases of an op before it is the next one's turn."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", choices=KINDS, required=True, help="which kernels")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="another one draws other cases (default 0)")
    parser.add_argument("--ops", nargs="+", choices=sorted(DRAWS), metavar="OP", help="these ops only")
    asked = parser.parse_args(arguments)
    there = substitutes(asked.kernels)
    if missing := [op for op in asked.ops or () if op not in there]:
        parser.error(f"there is no {asked.kernels} kernel for {', '.join(missing)}")

    names, cases, found = list(asked.ops or sorted(there)), Counter(), []
    end = time.monotonic() + 60 * asked.minutes
    try:
        for number in itertools.count():
            for op in [op for op in names if op not in found]:
                try:
                    cases[op] += search(op, asked.kernels, ROUND, _seed(asked.seed, number), end)
                except AssertionError as error:
                    found.append(op)  # its next finds would be of the same fault
                    print(f"{op}: {error}", flush=True)
            if time.monotonic() > end or len(found) == len(names):
                break
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    counts = ", ".join(f"{op} {count}" for op, count in sorted(cases.items()))
    print(f"seed {asked.seed}, {asked.kernels} kernels: {cases.total()} cases were right ({counts})")
    print(f"wrong: {', '.join(found) or 'none'}")
    return int(bool(found))


def _seed(seed: int, number: int) -> int:
    return seed * 1_000_003 + number


if __name__ == "__main__":
    sys.exit(main())
