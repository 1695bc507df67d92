"""Substitutes for the ops, one module a backend: faster, never needed to understand a layer.

A module here named as a backend offers ``SUBSTITUTES``, a dictionary from an op's name to a function of
the same signature that returns the same values. Where Numba is installed its module's take the place of some of
NumPy's. ``XPCNN_KERNELS=pure`` turns those off, and ``XPCNN_KERNELS=reference`` all.
"""

import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

from xpcnn._disk.caches import say
from xpcnn.errors import BackendError
from xpcnn.kernels.fused import fused

CHOICES = ("tuned", "pure", "reference")
"""All that is installed; without what an extra compiles; the textbook's ops."""


def load(backend: str, choice: str = "") -> dict[str, Callable[..., Any]]:
    """Return the substitutes for `backend`: none where there is no module for it, or when turned off.

    `choice` is as for `chosen`.

    Raises
    ------
    BackendError
        If it is none of `CHOICES`.
    """
    name, choice = f"{__name__}.{backend}", chosen(choice)
    if choice == "reference" or importlib.util.find_spec(name) is None:
        return {}
    module = importlib.import_module(name)
    substitutes: dict[str, Callable[..., Any]] = dict(getattr(module, "SUBSTITUTES", {}))
    substitutes |= _compiled()[0] if (backend, choice) == ("numpy", "tuned") else {}
    substitutes.update(fused(substitutes))
    return substitutes


def remark(backend: str, choice: str = "") -> str:
    """Return what the substitutes that are loaded for `backend` say of themselves, REMARK in their module."""
    remark: str = getattr(sys.modules.get(f"{__name__}.{backend}"), "REMARK", "")
    of_numba = _compiled()[1] if (backend, chosen(choice)) == ("numpy", "tuned") else ""
    return "; ".join(filter(None, (remark, of_numba)))


def workspace(backend: str) -> tuple[int, int] | None:
    """Return the bytes of workspace that the substitutes for `backend` hold, and the bound on it; None without one."""
    module = sys.modules.get(f"{__name__}.{backend}")
    functions = getattr(module, "WORKSPACE", None)
    return None if functions is None else (functions[0](), functions[1]())


def chosen(choice: str | None = None) -> str:
    """Return which of `CHOICES` is asked for: `choice`, or XPCNN_KERNELS, or, if neither is set, the first.

    Raises
    ------
    BackendError
        If that is none of them.
    """
    if choice and choice not in CHOICES:
        raise BackendError(f"kernels {choice!r} are unknown; pass one of: {', '.join(CHOICES)}")
    asked = choice or os.environ.get("XPCNN_KERNELS") or CHOICES[0]
    if asked not in CHOICES:
        raise BackendError(f"XPCNN_KERNELS={asked!r} is unknown; set it to one of: {', '.join(CHOICES)}")
    return asked


@functools.cache
def _compiled() -> tuple[dict[str, Callable[..., Any]], str]:
    """Return Numba's substitutes and what they say of themselves, or none and why; nothing if it is not installed.

    One that is installed and does not work is reported on stderr as well: what runs then is slower.
    """
    if importlib.util.find_spec("numba") is None:
        return {}, ""
    try:
        module = importlib.import_module(f"{__name__}.cpu.compiled")
        module.probe()
    except BackendError:  # a setting that NumPy's kernels cannot do with either
        raise
    except Exception as error:
        # A Numba for another NumPy, one without its LLVM, ...: nothing is missing but speed.
        sentence = " ".join(str(error).split())
        why = f"numba is installed but does not compile ({type(error).__name__}: {sentence:.100})"
        say(f"NumPy's kernels run: {why}")
        return {}, why
    kept = importlib.import_module(f"{__name__}.cpu.compiled.kept").remark()
    return module.SUBSTITUTES, "; ".join(filter(None, (module.REMARK, kept)))
