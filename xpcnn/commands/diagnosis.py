"""What this machine can run, and how to repair what it cannot: the text that ``xpcnn doctor`` prints.

Every section is a function from what was found to rows of text, so nothing here needs a GPU to be tried.
"""

import contextlib
import io
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import NamedTuple, TypeAlias

from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from xpcnn import __version__, kernels
from xpcnn._table import text_table, wrapped
from xpcnn.backend import NAMES, Backend, use_backend
from xpcnn.backend import _probe as probe
from xpcnn.benchmark.machine import blas_rows, gpu_rows, host_row
from xpcnn.errors import BackendError

Row: TypeAlias = tuple[str, ...]
"""Cells of text; the last one may hold several lines."""

WIDTH = 100
"""Columns of the terminal that the text is laid out for."""

PACKAGES = {"numpy": None, "numba": "fast", "cupy": "cuda13", "safetensors": None, "matplotlib": "viz"}
"""What is worth telling the version of, and the extra of xpcnn that brings it."""


class Diagnosis(NamedTuple):
    """The text to print, and whether the backend that the environment asks for can compute."""

    text: str
    usable: bool


class Attempt(NamedTuple):
    """A backend that opens, or why it does not."""

    backend: Backend | None
    why_not: str = ""


def diagnose(environ: Mapping[str, str] = os.environ) -> Diagnosis:
    """Try every backend, look at the machine, and lay out what was found."""
    attempts = {name: attempt(name) for name in NAMES if name != "auto"}
    chosen = attempt(environ.get("XPCNN_BACKEND") or "numpy")
    steps = probe.steps()
    shown = [] if any(step.seen == probe.NOT_INSTALLED for step in steps) else step_rows(steps)
    failed = {step.sentence: step.name for step in steps if step.state == probe.FAILED}
    if shown and attempts["cupy"].why_not in failed:  # said once, in the table of the steps
        attempts["cupy"] = Attempt(None, f'fails at "{failed[attempts["cupy"].why_not]}": see below')
    gpus = [row for tried in attempts.values() if tried.backend for row in gpu_rows(tried.backend.module)]
    parts = [
        headline(chosen, environ.get("XPCNN_BACKEND")),
        table(("backend", "usable", "what to know"), backend_rows(attempts, chosen)),
        *([table(("cupy", "", ""), shown)] if shown else []),
        table(("device", ""), [*gpus, host_row()]),
        table(
            ("library", ""), [*blas_rows(threadpool_info()), kernel_row(chosen, environ.get("XPCNN_KERNELS"))]
        ),
        table(("version", ""), version_rows(metadata.packages_distributions())),
    ]
    return Diagnosis("\n\n".join(parts), chosen.backend is not None)


def attempt(name: str) -> Attempt:
    """Open a backend and leave the active one as it is; "auto" keeps to itself what it took."""
    try:
        with contextlib.redirect_stderr(io.StringIO()), use_backend(name) as backend:
            return Attempt(backend)
    except BackendError as error:
        return Attempt(None, str(error).removeprefix(f"backend {name} cannot run here: "))


def headline(chosen: Attempt, asked: str | None) -> str:
    """Say in a sentence which backend is active and why, or why there is none and what repairs it."""
    because = f"XPCNN_BACKEND={asked}" if asked else "the default, as XPCNN_BACKEND is not set"
    if chosen.backend:
        return f"xpcnn {__version__} computes on {chosen.backend.name} ({because})."
    sentence = f"xpcnn {__version__} cannot compute ({because}): {_repair(chosen.why_not)}"
    return "\n".join(wrapped(sentence, WIDTH))


def backend_rows(attempts: Mapping[str, Attempt], chosen: Attempt) -> list[Row]:
    """Return (name, yes or no, "active" or why not and the command that repairs it) for every backend."""
    active = chosen.backend.name if chosen.backend else None
    rows: list[Row] = []
    for name, (backend, why_not) in attempts.items():
        known = [_repair(why_not)] if why_not else ["active"] * (name == active)
        if backend and backend.remark:
            known.append(backend.remark)
        rows.append((name, "yes" if backend else "no", "\n".join(known)))
    return rows


def step_rows(steps: Iterable[probe.Step]) -> list[Row]:
    """Return (name, ok or failed or not reached, what was seen) for every step of the check of CuPy.

    Below what was seen of one that failed stands the command that repairs it.
    """
    return [(step.name, step.state, _repair(step.sentence or step.seen)) for step in steps]


def kernel_row(chosen: Attempt, asked: str | None) -> Row:
    """Return which kernels run: the substitutes of the active backend, or the reference."""
    because = f"XPCNN_KERNELS={asked}" if asked else "XPCNN_KERNELS is not set"
    if asked and asked not in kernels.CHOICES:
        return "kernels", f"{asked!r} is unknown; set XPCNN_KERNELS to one of: {', '.join(kernels.CHOICES)}"
    names = sorted(chosen.backend.kernels) if chosen.backend else []
    choice = asked or kernels.CHOICES[0]
    return "kernels", f"{choice} ({because}), in place of the reference: {', '.join(names) or 'none'}"


def version_rows(installed: Mapping[str, Sequence[str]]) -> list[Row]:
    """Return the version of Python and of each package, or the command that installs what is missing.

    `installed` tells the distributions that hold a package: CuPy's has many names.
    """
    rows: list[Row] = [("python", f"{platform.python_version()} on {platform.platform()}")]
    for package, extra in PACKAGES.items():
        found = sorted(set(installed.get(package, ())))
        versions = [metadata.version(name) + (f" ({name})" if name != package else "") for name in found]
        text = ", ".join(versions) or f'not installed; run: pip install "xpcnn[{extra}]"'
        rows.append((package, text))
    return rows


def table(head: Row, rows: Iterable[Row], width: int = WIDTH) -> str:
    """Lay out rows under a head; the last column wraps, and the columns of several tables line up."""
    return text_table([head, *rows], "<", width=width, least=(max(map(len, PACKAGES)), 6))


def _repair(sentence: str) -> str:
    """Put the command that a sentence ends in on a line of its own, to be copied, and a remark below it."""
    reason, run, command = sentence.partition("run: ")
    return f"{reason.rstrip('; ')}\n{run}{command}".replace("   (", "\n(").strip()
