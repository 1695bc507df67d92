"""Substitutes for the ops, one module a backend: faster, never needed to understand a layer.

A substitute has the name and the signature of its op and returns the same values; `registry.substitute` above it
registers it. A module here that is named as a backend offers the backend's as ``SUBSTITUTES``, a dictionary by names.
Where Numba is installed, its substitutes take the place of some of NumPy's. ``XPCNN_KERNELS=pure`` turns those off, and
``XPCNN_KERNELS=reference`` all.
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
from xpcnn.kernels.registry import check_names

CHOICES = ("tuned", "pure", "reference")
"""All substitutes that are installed; those without Numba; none, so that the ops of `xpcnn.ops` run."""


def load(backend: str, choice: str = "") -> dict[str, Callable[..., Any]]:
    """Return the substitutes for `backend`: none where there is no module for it, or when turned off.

    `choice` is as for `chosen`.

    Raises
    ------
    BackendError
        If `choice` is not one of `CHOICES`, or if a substitute has the name of no op.
    """
    name, choice = f"{__name__}.{backend}", chosen(choice)
    if choice == "reference" or importlib.util.find_spec(name) is None:
        return {}
    module = importlib.import_module(name)
    substitutes: dict[str, Callable[..., Any]] = dict(getattr(module, "SUBSTITUTES", {}))
    substitutes |= _compiled()[0] if (backend, choice) == ("numpy", "tuned") else {}
    check_names(substitutes, name)
    return substitutes | fused(substitutes)


def remark(backend: str, choice: str = "") -> str:
    """Return the remark on the substitutes that are loaded for `backend`: REMARK of their module."""
    remark: str = getattr(sys.modules.get(f"{__name__}.{backend}"), "REMARK", "")
    of_compiled = _compiled()[1] if (backend, chosen(choice)) == ("numpy", "tuned") else ""
    return "; ".join(filter(None, (remark, of_compiled)))


def workspace(backend: str) -> tuple[int, int] | None:
    """Return the bytes of workspace that the substitutes for `backend` hold, and their limit; None without one."""
    module = sys.modules.get(f"{__name__}.{backend}")
    functions = getattr(module, "WORKSPACE", None)
    return None if functions is None else (functions[0](), functions[1]())


def chosen(choice: str | None = None) -> str:
    """Return one of `CHOICES`: `choice`, or XPCNN_KERNELS, or, if neither is set, the first.

    Raises
    ------
    BackendError
        If `choice` or XPCNN_KERNELS is something else.
    """
    if choice and choice not in CHOICES:
        raise BackendError(f"kernels {choice!r} are unknown; pass one of: {', '.join(CHOICES)}")
    asked = choice or os.environ.get("XPCNN_KERNELS") or CHOICES[0]
    if asked not in CHOICES:
        raise BackendError(f"XPCNN_KERNELS={asked!r} is unknown; set it to one of: {', '.join(CHOICES)}")
    return asked


@functools.cache
def _compiled() -> tuple[dict[str, Callable[..., Any]], str]:
    """Return the compiled substitutes and their remark, or none and the reason; no reason where Numba is not installed.

    A Numba that is installed and does not work is reported on stderr as well, since the plain substitutes are slower.
    """
    if importlib.util.find_spec("numba") is None:
        return {}, ""
    try:
        module = importlib.import_module(f"{__name__}.cpu.compiled")
        module.probe()
    except BackendError:  # a wrong setting, which the plain substitutes refuse too
        raise
    except Exception as error:
        # for example a Numba made for another NumPy, or one without LLVM: only speed is lost
        sentence = " ".join(str(error).split())
        why = f"numba is installed but does not compile ({type(error).__name__}: {sentence:.100})"
        say(f"NumPy's kernels run: {why}")
        return {}, why
    kept = importlib.import_module(f"{__name__}.cpu.compiled.kept").remark()
    return module.SUBSTITUTES, "; ".join(filter(None, (module.REMARK, kept)))
