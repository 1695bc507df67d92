"""Reading the .cu files: their text with the includes in place, and what each kernel says of its parameters.

A kernel's signature in its .cu file is the one place that says what it takes. The launcher reads names, types
and, from the comments, shapes:

    const storage* __restrict__ x,  // (N, C, H, W)

is a parameter `x` of which every launch checks that it has N*C*H*W elements.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from xpcnn.errors import KernelError

FOLDER = Path(__file__).parent

_KERNEL = re.compile(
    r'extern "C" __global__ void (?:__launch_bounds__\((?P<threads>\d+)(?:, \d+)?\) )?'
    r"(?P<name>\w+)\((?P<parameters>.*?)\) \{",
    re.DOTALL,
)
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)
_PARAMETER = re.compile(
    r"(?P<const>const )?(?P<type>[\w ]+?)(?P<pointer>\*(?: __restrict__)?)? (?P<name>\w+)"
)
_SHAPE = re.compile(r"\(([\w, ]+)\)")


class Parameter(NamedTuple):
    """One parameter of a kernel."""

    name: str
    type: str
    pointer: bool
    const: bool
    shape: tuple[str, ...] | None
    """Names of parameters, or numbers, whose product is the number of elements."""


class Signature(NamedTuple):
    """What a kernel takes, the file that defines it, and the most threads it may have in a block."""

    name: str
    file: str
    threads: int
    parameters: tuple[Parameter, ...]
    names: frozenset[str]


@cache
def signatures() -> dict[str, Signature]:
    """Return every kernel of this folder by name."""
    found: dict[str, Signature] = {}
    for path in sorted(FOLDER.glob("*.cu")):
        for match in _KERNEL.finditer(path.read_text(encoding="utf-8")):
            parameters = tuple(_parameters(match["parameters"], match["name"]))
            names = frozenset(parameter.name for parameter in parameters)
            found[match["name"]] = Signature(
                match["name"], path.name, int(match["threads"] or 1024), parameters, names
            )
    return found


@cache
def text(file: str) -> str:
    """Return a .cu file's text with its includes pasted in, each once: NVRTC is given no folder to look in."""
    return _paste(file, set())


def _paste(file: str, seen: set[str]) -> str:
    if file in seen:
        return ""
    seen.add(file)
    lines = []
    for number, line in enumerate((FOLDER / file).read_text(encoding="utf-8").splitlines(), 1):
        if include := _INCLUDE.match(line):
            lines += [_paste(include[1], seen), f'#line {number + 1} "{file}"']
        elif line != "#pragma once":
            lines.append(line)
    return "\n".join((f'#line 1 "{file}"', *lines, ""))


def _parameters(declared: str, kernel: str) -> list[Parameter]:
    found = []
    for line in declared.splitlines():
        code, _, comment = line.partition("//")
        shape = _SHAPE.match(comment.strip())
        for piece in filter(None, map(str.strip, code.split(","))):
            match = _PARAMETER.fullmatch(piece)
            if match is None:
                raise KernelError(f"{kernel}: parameter {piece!r} cannot be read; write one name a parameter")
            names = (
                tuple(name.strip() for name in shape[1].split(",")) if shape and match["pointer"] else None
            )
            found.append(
                Parameter(match["name"], match["type"], bool(match["pointer"]), bool(match["const"]), names)
            )
    return found
