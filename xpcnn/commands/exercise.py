"""``xpcnn exercise NAME``: write a layer's forward and backward yourself; three checks say what is wrong with them.

The first call writes a file with the functions to fill in, every later one checks it. The exit status is 0 if all
checks pass, and after the file was written.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from xpcnn.commands.command_line import called
from xpcnn.exercises import EXERCISES, LANGUAGES, check, load, text, write

WRITTEN = {
    "en": "{path} is written. Fill in {functions}, then run the same command again.",
    "ko": "{path} 파일을 만들었습니다. {functions}을(를) 작성한 뒤 같은 명령을 다시 실행하세요.",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=called("exercise"), description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("name", choices=tuple(EXERCISES), metavar="NAME", help=", ".join(EXERCISES))
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="the file to write or check (default exercise_NAME.py)",
    )
    parser.add_argument(
        "--language",
        choices=LANGUAGES,
        default="en",
        help="of the file and the report: en or ko (default en)",
    )
    return parser


def main(arguments: Sequence[str] = ()) -> int:
    """Write the exercise's file, or check it and print the report; return the exit status."""
    args = parser().parse_args(arguments)
    chosen = EXERCISES[args.name]
    path = args.file or Path(f"exercise_{args.name}.py")
    if not path.exists():
        write(chosen, path, args.language)
        print(WRITTEN[args.language].format(path=path, functions=", ".join(chosen.functions)))
        return 0
    report = check(chosen, load(path))
    print(f"{args.name}: {path}")
    print(text(report, chosen, args.language))
    return 0 if report.passed else 1
