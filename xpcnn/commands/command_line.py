"""What the commands share: numbers checked as they are read, a bar that counts images, and an end in one sentence."""

import argparse
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from xpcnn._disk.files import reason
from xpcnn.backend import NAMES, is_backend
from xpcnn.errors import XpcnnError, XpcnnWarning

FAILED, INTERRUPTED, TERMINATED = 1, 130, 143
"""Exit codes; a shell reports 130 for a program that Ctrl-C ended, 143 for SIGTERM's. argparse's own is 2."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came, as a batch system sends it when a job's time is over; it ends a run as Ctrl-C does."""


def _terminate(number: int, frame: Any) -> NoReturn:
    raise Terminated


def ended_by(interrupt: KeyboardInterrupt) -> tuple[int, str]:
    """Return the exit code for what ended a run, and a word for it."""
    return (
        (TERMINATED, "ended by SIGTERM")
        if isinstance(interrupt, Terminated)
        else (INTERRUPTED, "interrupted")
    )


WHERE = (
    f"where to compute: {', '.join(NAMES)}, or cupy:1 for the second GPU (default: $XPCNN_BACKEND, or numpy)"
)
"""What --help says of --backend."""


DOORS = ("train", "evaluate", "benchmark", "export")
"""Commands that are a script of the repository too."""


def called(command: str = "") -> str:
    """Return how the reader of a message calls a command, by how this program was called.

    That is "xpcnn train" where it is installed, "python -m xpcnn train", or "python scripts/train.py".
    """
    program = Path(sys.argv[0])
    if program.stem == "xpcnn":
        return f"xpcnn {command}".rstrip()
    if program.name != "__main__.py" and command in DOORS and program.stem in DOORS:
        return f"python scripts/{command}.py"
    return f"python -m xpcnn {command}".rstrip()


def speaker() -> str:
    """Return who speaks in a message: "train.py", or "xpcnn train"."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py" or program.stem == "xpcnn":
        command = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1].isalpha() else ""
        return f"xpcnn {command}".rstrip()
    return program.name


def new_parser(command: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser whose usage names the command as the reader calls it."""
    name = called(command)
    text = (
        (description or "").replace(f"xpcnn {command}", name) if name.startswith("python s") else description
    )
    return argparse.ArgumentParser(
        prog=name.removeprefix("python scripts/"), description=text, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip


def run(main: Callable[[], int]) -> NoReturn:
    """Run a command's main and exit with its code. What the user can fix is one sentence on stderr, no traceback."""
    name = speaker()
    _show_warnings(name)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    # a pipe gets an epoch's line when it ends; a name that the terminal cannot spell is no reason to stop
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    try:
        sys.exit(main())
    except KeyboardInterrupt as interrupt:
        code, how = ended_by(interrupt)
        sys.stderr.write(f"{name}: {how}\n")
        sys.exit(code)
    except BrokenPipeError:  # as after `| head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except XpcnnError as error:
        sys.exit(f"{name}: {error}")
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:  # it is what is full; Python would try once more, and complain, at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(f"{name}: {_sentence(error)}")


def _sentence(error: OSError) -> str:
    """Say what the system refused, and where, as far as it tells."""
    places = [str(place) for place in (error.filename, error.filename2) if place is not None]
    why = reason(error)
    if not places:  # what is printed has no name
        return f"{why}; make room where the output goes, or send it to another place"
    return f"{': '.join([*places, why])}; make room or give permission there, or name another place"


def _show_warnings(name: str) -> None:
    """Print a warning of xpcnn's as one line, and print it once."""
    usual = warnings.formatwarning

    def line(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> str:
        return (
            f"{name}: {message}\n"
            if issubclass(category, XpcnnWarning)
            else usual(message, category, *where, **more)
        )

    warnings.formatwarning = line
    warnings.simplefilter("once", XpcnnWarning, append=True)


def whole(least: int) -> Callable[[str], int]:
    """Return a type for argparse: whole numbers from `least` up.

    >>> whole(1)("100")
    100
    """

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} up, got {text!r}")
        return int(text)

    return number


def positive(text: str) -> float:
    """Read a finite number above 0, for argparse.

    >>> positive("1e-3")
    0.001
    """
    return _number(text, lambda value: value > 0, "above 0")


def not_negative(text: str) -> float:
    """Read a finite number from 0 up, for argparse."""
    return _number(text, lambda value: value >= 0, "from 0 up")


def backend_name(text: str) -> str:
    """Read the name of a backend that is registered, for argparse; whether it runs here is seen when it is opened.

    >>> backend_name("cupy:1")
    'cupy:1'
    """
    if not is_backend(text):
        raise argparse.ArgumentTypeError(
            f"expected one of {', '.join(NAMES)}, or cupy:1 for the second GPU, got {text!r}"
        )
    return text


def _number(text: str, allowed: Callable[[float], bool], which: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and allowed(value):
        return value
    raise argparse.ArgumentTypeError(f"expected a finite number {which}, such as 0.001, got {text!r}")


def image_size(text: str) -> tuple[int, int]:
    """Read an image's size, for argparse: one number, or height x width.

    >>> image_size("224"), image_size("48x64")
    ((224, 224), (48, 64))
    """
    numbers = text.split("x")
    if len(numbers) > 2 or not all(number.isdecimal() and int(number) for number in numbers):
        raise argparse.ArgumentTypeError(f"expected 64, or HEIGHTxWIDTH as in 48x64, got {text!r}")
    return int(numbers[0]), int(numbers[-1])


def image_bar(total: int, quiet: bool = False) -> "tqdm[NoReturn]":
    """Return a bar of `total` images on stderr, if that is a terminal; it vanishes when it is closed."""
    return tqdm(total=total, unit=" images", unit_scale=True, leave=False, disable=quiet or None)


def counted(bar: "tqdm[NoReturn]", batches: Iterable[Any], description: str) -> Iterator[Any]:
    """Yield (images, labels) of `batches`, and let `bar` count the images."""
    bar.set_description(description)
    for batch in batches:
        yield batch
        bar.update(len(batch[1]))


@contextmanager
def stoppable() -> Iterator[Callable[[Iterable[Any]], Iterator[Any]]]:
    """Within the block Ctrl-C and SIGTERM wait for a step to end: half a step can be neither saved nor gone on with.

    Yields a function that wraps batches, ``for batch in between(batches)``; once a signal came it raises
    KeyboardInterrupt, or Terminated, before the next batch. Where a shell ignores a signal, as Ctrl-C in the
    background, so do we.
    """
    came: list[int] = []

    def between(batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            yield batch
            if came:
                raise Terminated if signal.SIGTERM in came else KeyboardInterrupt

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in previous.items():
        if handler in (signal.default_int_handler, signal.SIG_DFL, _terminate):
            signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield between
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def ignore_signals() -> None:
    """Ignore Ctrl-C and SIGTERM from here on: a second one would undo what the first one saves."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
