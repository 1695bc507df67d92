"""The program `xpcnn`: it finds the command, which is a module of this package, and runs it."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from xpcnn import __version__
from xpcnn.commands.command_line import called, run

COMMANDS = {
    "train": "train a network, and save it",
    "evaluate": "test a trained network: accuracy, a table of the classes, a picture of the mistakes",
    "predict": "say what is in images, with a trained network",
    "export": "write a trained network as ONNX, or for PyTorch",
    "models": "list the networks, and the data sets that they fit",
    "benchmark": "time a training step",
    "doctor": "say what this machine can run, and how to repair what it cannot",
    "compare": "find the first step and layer at which two backends diverge",
    "exercise": "write a layer yourself, and have it checked",
}


def main(arguments: Sequence[str] = ()) -> int:
    """Run a command; return its exit status. Without one, say what this machine can run."""
    if arguments and arguments[0] in COMMANDS:
        status: int = importlib.import_module(f"xpcnn.commands.{arguments[0]}").main(arguments[1:])
        return status
    if arguments:
        parser().parse_args(arguments)
    status = importlib.import_module("xpcnn.commands.doctor").main([])
    print(f"\n{called()} --help lists the commands.")
    return status


def parser() -> argparse.ArgumentParser:
    """Return the parser of what is not a command's own: --help, --version, or a name that is no command."""
    name = called()
    listed = "\n".join(f"  {command:<10} {what}" for command, what in COMMANDS.items())
    program = argparse.ArgumentParser(
        prog=name, usage=f"{name} COMMAND ...", allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Convolutional networks in plain arrays, on NumPy or CuPy.",
        epilog=f"commands:\n{listed}\n\n{name} COMMAND --help explains one; {name} train is a good first one.",
    )  # fmt: skip
    program.add_argument("--version", action="version", version=f"xpcnn {__version__}")
    program.add_argument("command", choices=COMMANDS, help=argparse.SUPPRESS)
    return program


def console() -> NoReturn:
    """Run the program `xpcnn` with the arguments of this process."""
    run(lambda: main(sys.argv[1:]))


def script(command: str) -> NoReturn:
    """Run one command with the arguments of this process, as the files of scripts/ do."""
    run(lambda: main([command, *sys.argv[1:]]))
