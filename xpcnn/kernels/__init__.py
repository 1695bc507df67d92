"""Substitutes for the ops, one module a backend: faster, never needed to understand a layer.

A module here named as a backend offers ``SUBSTITUTES``, a dictionary from an op's name to a function of
the same signature that returns the same values. ``XPCNN_KERNELS=reference`` turns all of them off.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

from xpcnn.errors import BackendError

CHOICES = ("tuned", "reference")


def load(backend: str) -> dict[str, Callable[..., Any]]:
    """Return the substitutes for `backend`: none where there is no module for it, or when turned off.

    Raises
    ------
    BackendError
        If XPCNN_KERNELS is neither "tuned" nor "reference".
    """
    choice = os.environ.get("XPCNN_KERNELS") or "tuned"
    if choice not in CHOICES:
        raise BackendError(f"XPCNN_KERNELS={choice!r} is unknown; set it to one of: {', '.join(CHOICES)}")
    name = f"{__name__}.{backend}"
    if choice == "reference" or importlib.util.find_spec(name) is None:
        return {}
    substitutes: dict[str, Callable[..., Any]] = importlib.import_module(name).SUBSTITUTES
    return dict(substitutes)


def remark(backend: str) -> str:
    """Return what the substitutes that are loaded for `backend` say of themselves, REMARK in their module."""
    module = sys.modules.get(f"{__name__}.{backend}")
    return getattr(module, "REMARK", "")


def workspace(backend: str) -> tuple[int, int] | None:
    """Return the bytes of workspace that the substitutes for `backend` hold, and the bound on it; None without one."""
    module = sys.modules.get(f"{__name__}.{backend}")
    functions = getattr(module, "WORKSPACE", None)
    return None if functions is None else (functions[0](), functions[1]())
