"""Compile every CUDA kernel for every architecture with nvcc; fail if one spills registers into memory.

    python tools/compile_kernels.py                         all that xpcnn is meant to run on
    python tools/compile_kernels.py --arch 80 90            these alone

Without nvcc there is nothing to do; that is said, and is no failure unless --require is given.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import NamedTuple

from xpcnn._table import text_table
from xpcnn.kernels.cuda.launch import OPTIONS, macros
from xpcnn.kernels.cuda.source import FOLDER

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)

VARIANTS = {
    "half": macros(storage=16),
    "float": macros(storage=32),
    "double": macros(storage=64),
    "float, 64-bit positions": macros(storage=32, index=64),
    "float, wide winner": macros(storage=32, winner=32),
}

ENTRY = re.compile(r"Compiling entry function '(\w+)'")
SPILL = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")


class Use(NamedTuple):
    """What ptxas says of one kernel, for one architecture."""

    kernel: str
    registers: int
    shared: int
    spilled: int


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--arch", type=int, nargs="+", default=ARCHITECTURES, metavar="SM", help="default: %(default)s"
    )
    parser.add_argument("--require", action="store_true", help="without nvcc, fail")
    parser.add_argument("--nvcc", default="nvcc", help="default: the one on the path")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    nvcc = shutil.which(args.nvcc)
    if nvcc is None:
        print(
            f"compile_kernels.py: SKIPPED, {args.nvcc} is not on the path: no kernel was compiled for a GPU"
        )
        return int(args.require)
    jobs = list(product(VARIANTS, args.arch))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        unit = Path(
            folder, "all.cu"
        )  # one file a compilation: nvcc takes longer to start than to compile a kernel
        unit.write_text("".join(f'#include "{file.name}"\n' for file in sorted(FOLDER.glob("*.cu"))))
        outputs = pool.map(lambda job: compile_unit(nvcc, unit, *job), jobs)
        uses = dict(zip(jobs, outputs, strict=True))
    print(
        f"{len(jobs)} compilations by {version(nvcc)}: registers a thread, and bytes of shared memory a block"
    )
    for variant in VARIANTS:
        print(f"\n{variant}\n{table({arch: uses[variant, arch] for arch in args.arch})}")
    spilling = [f"{use.kernel} ({variant}, sm_{arch}): {use.spilled} bytes"
                for (variant, arch), found in uses.items() for use in found if use.spilled]  # fmt: skip
    print("\n" + ("SPILLS:\n" + "\n".join(spilling) if spilling else "no kernel spills"))
    return int(bool(spilling))


def compile_unit(nvcc: str, unit: Path, variant: str, arch: int) -> list[Use]:
    """Compile for one architecture; return what each kernel uses."""
    command = [nvcc, *OPTIONS, *VARIANTS[variant], "--cubin", f"-arch=sm_{arch}", "-Xptxas", "-v", f"-I{FOLDER}",
               str(unit), "-o", str(unit.with_name(f"{variant}-{arch}.cubin"))]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"compile_kernels.py: {variant}, sm_{arch}: nvcc says\n{done.stderr}{done.stdout}")
    return read(done.stderr + done.stdout)


def read(report: str) -> list[Use]:
    """Read ptxas' report.

    >>> read('''ptxas info    : Compiling entry function 'relu' for 'sm_80'
    ... ptxas info    : Function properties for relu
    ...     0 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
    ... ptxas info    : Used 10 registers, used 1 barriers, 128 bytes smem, 372 bytes cmem[0]''')
    [Use(kernel='relu', registers=10, shared=128, spilled=12)]
    """
    uses = []
    for entry, end in zip(starts := list(ENTRY.finditer(report)), [*starts[1:], None], strict=True):
        part = report[entry.start() : end.start() if end else None]
        spill, used = SPILL.search(part), USED.search(part)
        if spill is None or used is None:
            sys.exit(f"compile_kernels.py: ptxas' report on {entry[1]} cannot be read:\n{part}")
        uses.append(Use(entry[1], int(used[1]), int(used[2] or 0), int(spill[1]) + int(spill[2])))
    return sorted(uses)


def table(uses: dict[int, list[Use]]) -> str:
    """Lay out a variant: a kernel a row, an architecture a column."""
    rows = [("kernel", *(f"sm_{arch}" for arch in uses), "shared", "spills")]
    for row in zip(*uses.values(), strict=True):
        numbers = (
            *(use.registers for use in row),
            max(use.shared for use in row),
            max(use.spilled for use in row),
        )
        rows.append((row[0].kernel, *map(str, numbers)))
    return text_table(rows)


def version(nvcc: str) -> str:
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"release ([\d.]+)", text)
    return f"nvcc {found[1]}" if found else "nvcc"


if __name__ == "__main__":
    sys.exit(main())
